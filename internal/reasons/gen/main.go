// Command gen writes the C enum and the Go table of drop reasons.
//
//	gen reasons.json reasons.h table_generated.go
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"os"
	"regexp"
	"strings"
)

type reason struct {
	ID          int    `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: gen reasons.json reasons.h table_generated.go")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(source, header, table string) error {
	raw, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	var all []reason
	if err := json.Unmarshal(raw, &all); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if err := check(all); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if err := os.WriteFile(header, cHeader(all), 0o644); err != nil {
		return err
	}
	code, err := format.Source(goTable(all))
	if err != nil {
		return err
	}
	return os.WriteFile(table, code, 0o644)
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// check holds the table to its rules: ids ascend from 1, names are unique.
func check(all []reason) error {
	names := map[string]bool{}
	last := 0
	for _, r := range all {
		switch {
		case r.ID <= last:
			return fmt.Errorf("%s: id %d does not follow %d", r.Name, r.ID, last)
		case !validName.MatchString(r.Name):
			return fmt.Errorf("name %q is not of the form words-with-hyphens", r.Name)
		case names[r.Name]:
			return fmt.Errorf("name %q stands twice", r.Name)
		case r.Description == "":
			return fmt.Errorf("%s has no description", r.Name)
		}
		last = r.ID
		names[r.Name] = true
	}
	return nil
}

func cHeader(all []reason) []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only */\n" +
		"/* Code generated from reasons.json by internal/reasons/gen; DO NOT EDIT. */\n" +
		"#ifndef SLUICE_REASONS_H\n#define SLUICE_REASONS_H\n\nenum reason {\n")
	for _, r := range all {
		symbol := strings.ToUpper(strings.ReplaceAll(r.Name, "-", "_"))
		fmt.Fprintf(&b, "\tREASON_%s = %d, /* %s */\n", symbol, r.ID, r.Description)
	}
	fmt.Fprintf(&b, "\tREASONS = %d,\n};\n\n#endif\n", all[len(all)-1].ID+1)
	return b.Bytes()
}

func goTable(all []reason) []byte {
	var b bytes.Buffer
	b.WriteString("// Code generated from bpf/reasons.json by internal/reasons/gen; DO NOT EDIT.\n\npackage reasons\n\n")
	b.WriteString("// The reasons for dropping a packet.\nconst (\n")
	for _, r := range all {
		symbol := ""
		for _, word := range strings.Split(r.Name, "-") {
			symbol += strings.ToUpper(word[:1]) + word[1:]
		}
		fmt.Fprintf(&b, "\t%s Reason = %d // %s\n", symbol, r.ID, r.Description)
	}
	b.WriteString(")\n\nvar table = [...]struct{ name, description string }{\n")
	for _, r := range all {
		fmt.Fprintf(&b, "\t%d: {%q, %q},\n", r.ID, r.Name, r.Description)
	}
	b.WriteString("}\n")
	return b.Bytes()
}
