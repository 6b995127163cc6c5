package cliformat

import (
	"strings"
	"testing"
)

type row struct {
	ID    string `json:"Id"`
	Name  string
	Ports map[string][]string
}

var rows = []row{
	{ID: "0123456789ab", Name: "net00", Ports: map[string][]string{"80/tcp": {"0.0.0.0:8080"}}},
	{ID: "ba9876543210", Name: "a-longer-name"},
}

var columns = []Column{{"CONTAINER ID", "ID"}, {"NAMES", "Name"}}

func TestList(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"":                             "CONTAINER ID   NAMES\n0123456789ab   net00\nba9876543210   a-longer-name\n",
		"table":                        "CONTAINER ID   NAMES\n0123456789ab   net00\nba9876543210   a-longer-name\n",
		`table {{.Name}}\t{{.ID}}`:     "NAMES           CONTAINER ID\nnet00           0123456789ab\na-longer-name   ba9876543210\n",
		"{{.Name}}":                    "net00\na-longer-name\n",
		`{{upper .Name}}\t{{.ID}}`:     "NET00\t0123456789ab\nA-LONGER-NAME\tba9876543210\n",
		"{{truncate .ID 4}}":           "0123\nba98\n",
		`{{join (split .ID "3") "-"}}`: "012-456789ab\nba987654-210\n",
		"json": `{"Id":"0123456789ab","Name":"net00","Ports":{"80/tcp":["0.0.0.0:8080"]}}` + "\n" +
			`{"Id":"ba9876543210","Name":"a-longer-name","Ports":null}` + "\n",
	} {
		var b strings.Builder
		if err := List(&b, format, columns, rows); err != nil || b.String() != want {
			t.Errorf("%q: %v\ngot  %q\nwant %q", format, err, b.String(), want)
		}
	}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"{{.ID}} {{.Id}}": "", // neither has both
		"{{.ID}}":         "0123456789ab\n",
		"{{.Id}}":         "0123456789ab\n",
		`{{json .Ports}}`: `{"80/tcp":["0.0.0.0:8080"]}` + "\n",
		`{{range $port, $where := .Ports}}{{$port}} {{index $where 0}}{{end}}`: "80/tcp 0.0.0.0:8080\n",
		"json": `[{"Id":"0123456789ab","Name":"net00","Ports":{"80/tcp":["0.0.0.0:8080"]}}]` + "\n",
	} {
		var b strings.Builder
		err := Objects(&b, format, []any{rows[0]})
		if b.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v\ngot  %q\nwant %q", format, err, b.String(), want)
		}
	}
}

func TestBadFormats(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"{{", "{{.Nonsense}}", "table {{.Nonsense}}", "{{nonsense .ID}}"} {
		for _, rows := range [][]row{rows, nil} {
			var b strings.Builder
			err := List(&b, format, columns, rows)
			if len(rows) > 0 && (err == nil || !strings.HasPrefix(err.Error(), "--format: ")) {
				t.Errorf("%q: %v", format, err)
			}
			if b.Len() > 0 {
				t.Errorf("%q: printed %q", format, b.String())
			}
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"":                   "net00!\n",
		`{{.Name}}\t{{.ID}}`: "net00\t0123456789ab\n",
		"json":               `{"Id":"0123456789ab","Name":"net00","Ports":{"80/tcp":["0.0.0.0:8080"]}}` + "\n",
		"{{":                 "",
		"table":              "",
		"table {{.Name}}":    "",
	} {
		var b strings.Builder
		show, err := Follow(&b, format, func(r row) string { return r.Name + "!" })
		if err == nil {
			err = show(rows[0])
		}
		if b.String() != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v; got %q, want %q", format, err, b.String(), want)
		}
	}
}
