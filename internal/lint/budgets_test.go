package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Ensure that each budget of a package and of a type can be exceeded, that an exemption allows
// it, and that an exemption must shrink with what it allows.
func TestSizes(t *testing.T) {
	t.Parallel()
	long := func(lines int) string { return "package x\n" + strings.Repeat("\n", lines-1) }
	several := func(n int, what string) (list string) {
		for i := range n {
			list += fmt.Sprintf(what, i)
		}
		return list
	}
	structOf := func(n int) string {
		return "package x\ntype t struct {\n_, a int\nb\n" + several(n-3, "c%d int\n") + "}"
	}
	methodsOf := func(n int) string {
		return "package x\n" + several(n-1, "func (x *t[K]) m%d() {}\n") + "func (t) m() {}\n"
	}
	tests := []struct {
		name, file, content string
		copies              int // of the file; zero is one
		exempt              []exemption
		want                string // the one problem, or none
	}{
		{"lines", "x/x%d.go", long(300), 10, nil, ""},
		{"lines", "x/x%d.go", long(300), 11, nil, "x: 3300 lines, 3000 allowed"},
		{"tests", "x/x%d_test.go", long(300), 30, nil, ""},
		{"handlers", "server/cmd_x%d.go", long(300), 30, nil, ""},
		{"rows", "server/table_x%d.go", long(300), 30, nil, ""},
		{"files", "x/x%d.go", "package x", 25, nil, ""},
		{"files", "x/x%d.go", "package x", 26, nil, "x: 26 files, 25 allowed"},
		{"fields", "x/x%d.go", structOf(20), 1, nil, ""},
		{"fields", "x/x%d.go", structOf(21), 1, nil, "x.t: 21 fields, 20 allowed"},
		{"fields", "x%d.go", structOf(21), 1, nil, "t: 21 fields, 20 allowed"},
		{"methods", "x/x%d.go", methodsOf(30), 1, nil, ""},
		{"methods", "x/x%d.go", methodsOf(31), 1, nil, "x.t: 31 methods, 30 allowed"},
		{"exempt", "x/x%d.go", "package x", 27, []exemption{{"x", files, 27, ""}}, ""},
		{"exceeded", "x/x%d.go", "package x", 28, []exemption{{"x", files, 27, ""}}, "x: 28 files, its exemption allows 27"},
		{"too large", "x/x%d.go", "package x", 26, []exemption{{"x", files, 27, ""}}, "x: lower its exemption for files from 27 to 26"},
		{"rounded", "x/x%d.go", long(311), 10, []exemption{{"x", lines, 3200, ""}}, ""},
		{"too large", "x/x%d.go", long(310), 10, []exemption{{"x", lines, 3200, ""}}, "x: lower its exemption for lines from 3200 to 3100"},
		{"not needed", "x/x%d.go", "package x", 25, []exemption{{"x", files, 26, ""}}, "x: its exemption for files is not needed: delete it"},
		{"gone", "x/x%d.go", "package x", 1, []exemption{{"y", files, 26, ""}}, "y: its exemption for files is not needed: delete it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := fstest.MapFS{}
			for i := range tt.copies {
				root[fmt.Sprintf(tt.file, i)] = &fstest.MapFile{Data: []byte(tt.content)}
			}
			source, err := load(root)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(checkSizes(source, tt.exempt), "\n"); got != tt.want {
				t.Errorf("%d of %s: found %q, want %q", tt.copies, tt.file, got, tt.want)
			}
		})
	}
}

// Ensure that each exemption says why, and that none is given twice.
func TestExemptions(t *testing.T) {
	t.Parallel()
	for i, e := range exemptions {
		same := func(o exemption) bool { return o.subject == e.subject && o.counted == e.counted }
		if e.reason == "" || slices.IndexFunc(exemptions, same) != i {
			t.Errorf("%s, %s: an exemption without a reason, or a second one", e.subject, e.counted)
		}
	}
}
