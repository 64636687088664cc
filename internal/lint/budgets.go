package lint

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// The budgets of a file and of a function, in lines.
const (
	maxFile     = 400
	maxFunction = 70
)

// The budgets of a package, of a struct and of a type.
var budgets = map[quantity]int{lines: 3000, files: 25, fields: 20, methods: 30}

// quantity is what a budget counts.
type quantity string

const (
	lines   quantity = "lines"
	files   quantity = "files"
	fields  quantity = "fields"
	methods quantity = "methods"
)

// exemption allows a package or a type to exceed a budget. The number may only shrink: once
// less is needed it must be lowered. Lines are rounded up to the next hundred.
type exemption struct {
	subject string // the folder of a package, or a type: "server.conn", "Options" in the root
	counted quantity
	allowed int
	reason  string
}

const (
	severalRooms = "it still holds several packages, which move out one by one"
	manyFlags    = "one field for each flag or directive"
)

var exemptions = []exemption{
	{"server", lines, 5200, "the gates, buffers and statistics of connections share the type conn"},
	{"server", files, 41, "the gates, buffers and statistics of connections share the type conn"},
	{"server.conn", methods, 68, "one goroutine owns all state of a connection"},
	{"storage/pebble", lines, 3700, severalRooms},
	{"storage/pebble.Engine", fields, 37, severalRooms},
	{"storage/pebble.Engine", methods, 70, severalRooms},
	{"storage/pebble/internal/wal.Log", methods, 36, "segments, group commit and recovery share one lock"},
	{"storage/enginetest", lines, 4000, "tests, which every engine runs"},
	{"storage/enginetest.subject", methods, 31, "each check of an answer is a method"},
	{"cmd/sessiond", files, 27, "each tool and each kind of flag has a file"},
	{"cmd/sessiond.config", fields, 27, manyFlags},
	{"Options", fields, 21, manyFlags},
}

// checkBudgets returns the files and functions that have grown too long.
func checkBudgets(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		if n := f.lines(); n > maxFile {
			problems = append(problems, fmt.Sprintf("%s: %d lines, %d allowed", f.path, n, maxFile))
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
			if n > maxFunction {
				problems = append(problems, f.at(fn.Pos(), "%s has %d lines, %d allowed", fn.Name.Name, n, maxFunction))
			}
		}
	}
	return problems
}

// measured is a size of a package or a type.
type measured struct {
	subject string
	counted quantity
}

// checkSizes returns the packages, structs and types that have grown too large, and the
// exemptions that allow more than is needed.
func checkSizes(t *tree, exemptions []exemption) []string {
	sizes := measure(t)
	var problems []string
	for of, n := range sizes {
		i := slices.IndexFunc(exemptions, func(e exemption) bool { return measured{e.subject, e.counted} == of })
		switch {
		case i < 0 && n > budgets[of.counted]:
			problems = append(problems, fmt.Sprintf("%s: %d %s, %d allowed", of.subject, n, of.counted, budgets[of.counted]))
		case i >= 0 && n > exemptions[i].allowed:
			problems = append(problems, fmt.Sprintf("%s: %d %s, its exemption allows %d", of.subject, n, of.counted, exemptions[i].allowed))
		}
	}
	for _, e := range exemptions {
		n := sizes[measured{e.subject, e.counted}]
		if e.counted == lines {
			n = (n + 99) / 100 * 100
		}
		switch {
		case n <= budgets[e.counted]:
			problems = append(problems, fmt.Sprintf("%s: its exemption for %s is not needed: delete it", e.subject, e.counted))
		case n < e.allowed:
			problems = append(problems, fmt.Sprintf("%s: lower its exemption for %s from %d to %d", e.subject, e.counted, e.allowed, n))
		}
	}
	slices.Sort(problems)
	return problems
}

// measure returns all sizes. Commands do not count for server: a package that serves more
// commands is longer, but not harder to read.
func measure(t *tree) map[measured]int {
	sizes := map[measured]int{}
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		if !strings.HasPrefix(f.path, "server/cmd_") && !strings.HasPrefix(f.path, "server/table") {
			sizes[measured{f.dir(), lines}] += f.lines()
			sizes[measured{f.dir(), files}]++
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					sizes[measured{f.typeName(receiver(n)), methods}]++
				}
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					sizes[measured{f.typeName(n.Name.Name), fields}] = countFields(s)
				}
			}
			return true
		})
	}
	return sizes
}

// typeName returns the subject of a type of the file.
func (f *goFile) typeName(name string) string {
	return strings.TrimPrefix(f.dir()+"."+name, "..")
}

func (f *goFile) lines() int { return f.set.File(f.ast.Pos()).LineCount() }

// receiver returns the name of the type that a method belongs to.
func receiver(method *ast.FuncDecl) (name string) {
	ast.Inspect(method.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name == "" {
			name = id.Name // the type parameters come after it
		}
		return true
	})
	return name
}

// countFields counts an embedded type as one field.
func countFields(s *ast.StructType) (n int) {
	for _, f := range s.Fields.List {
		n += max(1, len(f.Names))
	}
	return n
}
