package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// clockReaders are the names of package time that read the clock or start a timer.
var clockReaders = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
}

// checkClock returns each use of the wall clock outside ttl: everybody else is handed a
// ttl.Clock, or a test could not move the time. Tests may read it, and so may bench, which
// measures nothing but time.
func checkClock(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if f.dir() == "ttl" || f.dir() == "bench" || f.isTest() {
			continue
		}
		f.uses("time", func(pos token.Pos, name string) {
			if slices.Contains(clockReaders, name) {
				problems = append(problems, f.at(pos, "time.%s: only ttl reads the wall clock", name))
			}
		})
	}
	return problems
}

// checkInit returns the init functions: importing a package must do nothing.
func checkInit(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				problems = append(problems, f.at(fn.Pos(), "no init functions"))
			}
		}
	}
	return problems
}

// checkPackageDocs returns the packages without a comment that says what they are for.
func checkPackageDocs(t *tree) []string {
	documented := map[string]bool{} // by folder
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		begin := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			begin = "Command " + path.Base(f.dir()) + " "
		}
		ok := f.ast.Doc != nil && strings.HasPrefix(f.ast.Doc.Text(), begin)
		documented[f.dir()] = documented[f.dir()] || ok
	}
	var problems []string
	for dir, ok := range documented {
		if !ok {
			problems = append(problems, fmt.Sprintf("%s: no package comment that begins as Go's convention has it", dir))
		}
	}
	slices.Sort(problems)
	return problems
}
