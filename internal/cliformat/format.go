// Package cliformat prints what verbs list: as a table, as JSON, or by a Go
// template, with Docker's functions in it.
package cliformat

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"text/template"
)

// functions are those of Docker's templates.
var functions = template.FuncMap{
	"json": func(v any) (string, error) {
		var b strings.Builder
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	},
	"split":   strings.Split,
	"join":    strings.Join,
	"lower":   strings.ToLower,
	"upper":   strings.ToUpper,
	"title":   title,
	"println": fmt.Sprintln,
	"pad": func(s string, before, after int) string {
		return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
	},
	"truncate": func(s string, n int) string { return s[:min(n, len(s))] },
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Template parses a user's template.
func Template(text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--format: %w", err)
	}
	return t, nil
}

// Column is a column of a table: the field of a row that it shows.
type Column struct{ Header, Field string }

// List prints rows, which are structs. The format is "" or "table" for the
// columns, "json" for an object per line, "table TEMPLATE" for columns of the
// user's choice (their fields become headers), or a template.
func List[T any](w io.Writer, format string, columns []Column, rows []T) error {
	switch {
	case format == "" || format == "table":
		var fields []string
		for _, c := range columns {
			fields = append(fields, "{{."+c.Field+"}}")
		}
		return table(w, strings.Join(fields, "\t"), columns, rows)
	case format == "json":
		return each(w, "{{json .}}", rows)
	case strings.HasPrefix(format, "table "):
		return table(w, unescape(strings.TrimPrefix(format, "table ")), columns, rows)
	}
	return each(w, unescape(format), rows)
}

// unescape reads what a shell does not: \t and \n.
func unescape(s string) string { return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s) }

func each[T any](w io.Writer, text string, rows []T) error {
	t, err := Template(text)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := t.Execute(w, row); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		fmt.Fprintln(w)
	}
	return nil
}

func table[T any](w io.Writer, text string, columns []Column, rows []T) error {
	aligned := tabwriter.NewWriter(w, 10, 1, 3, ' ', 0)
	t, err := Template(text)
	if err != nil {
		return err
	}
	if err := t.Execute(aligned, headers(columns, reflect.TypeFor[T]())); err != nil {
		return fmt.Errorf("--format: %w", err)
	}
	fmt.Fprintln(aligned)
	if err := each(aligned, text, rows); err != nil {
		return err
	}
	return aligned.Flush()
}

// headers stands in for a row: each field's value is its header.
func headers(columns []Column, row reflect.Type) map[string]string {
	names := map[string]string{}
	for _, field := range reflect.VisibleFields(row) {
		names[field.Name] = strings.ToUpper(field.Name)
	}
	for _, c := range columns {
		names[c.Field] = c.Header
	}
	return names
}

// Objects prints what inspect found: a JSON array, or by a template, whose
// fields may have the names of Go ({{.ID}}) or of JSON ({{.Id}}), as Docker's.
func Objects(w io.Writer, format string, objects []any) error {
	if format != "" && format != "json" {
		return eachObject(w, unescape(format), objects)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	if format == "" {
		encoder.SetIndent("", "    ")
	}
	return encoder.Encode(objects)
}

func eachObject(w io.Writer, text string, objects []any) error {
	t, err := Template(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		var b strings.Builder
		if err := t.Execute(&b, object); err != nil {
			generic, jsonErr := asJSON(object)
			if jsonErr != nil {
				return jsonErr
			}
			b.Reset()
			if t.Execute(&b, generic) != nil {
				return fmt.Errorf("--format: %w", err) // the first says more
			}
		}
		fmt.Fprintln(w, b.String())
	}
	return nil
}

// asJSON is an object as a reader of its JSON would have it.
func asJSON(object any) (generic any, err error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(raw, &generic)
	return generic, err
}

// Follow returns a function that prints one row after another as they come: by
// text, as JSON, or by a template. There is no table, which would need all rows
// for its columns' widths.
func Follow[T any](w io.Writer, format string, text func(T) string) (func(T) error, error) {
	switch {
	case format == "":
		return func(row T) error {
			_, err := fmt.Fprintln(w, text(row))
			return err
		}, nil
	case format == "json":
		format = "{{json .}}"
	case format == "table" || strings.HasPrefix(format, "table "):
		return nil, fmt.Errorf("--format: %q cannot follow: use json, or a Go template", format)
	}
	t, err := Template(unescape(format))
	if err != nil {
		return nil, err
	}
	return func(row T) error {
		if err := t.Execute(w, row); err != nil {
			return fmt.Errorf("--format: %w", err)
		}
		_, err := fmt.Fprintln(w)
		return err
	}, nil
}
