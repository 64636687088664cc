// Package lint holds the rules of this repository that no general tool knows: which
// package may import which, who may read the clock, how long files and functions get, and
// what must not be written anywhere. Its tests apply them to the whole source tree.
package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const module = "github.com/sessiond/sessiond"

// tree is the source of the module.
type tree struct {
	files []*goFile
	texts []text
}

// goFile is one parsed Go file.
type goFile struct {
	path string // from the root, with slashes
	set  *token.FileSet
	ast  *ast.File
}

// text is a file of any kind.
type text struct{ path, content string }

// outside are the folders with modules and programs of their own. Only the rules about
// words apply to them.
var outside = []string{"compat_test", "examples"}

// load reads every file below root that belongs to the source.
func load(root fs.FS) (*tree, error) {
	t := &tree{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && generated(name):
			return fs.SkipDir
		case entry.IsDir(), generated(name), !entry.Type().IsRegular():
			return nil
		}
		return t.add(root, name)
	})
	return t, err
}

// generated reports whether a name is that of a folder in which tools keep their files. In a
// second work tree .git is a file.
func generated(name string) bool {
	return slices.Contains([]string{".git", "node_modules", "dist", "sessiond-data"}, path.Base(name))
}

func (t *tree) add(root fs.FS, name string) error {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	content := string(b)
	if strings.Contains(content, "\x00") {
		return nil // a program or a picture
	}
	t.texts = append(t.texts, text{name, content})
	if path.Ext(name) != ".go" || slices.ContainsFunc(outside, func(dir string) bool { return within(name, dir) }) {
		return nil
	}
	if strings.Contains(name, "testdata/") {
		return nil
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.files = append(t.files, &goFile{name, set, parsed})
	return nil
}

// dir returns the folder of the file, "." for the root.
func (f *goFile) dir() string { return path.Dir(f.path) }

func (f *goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// at says where in the file a rule is broken, as compilers do.
func (f *goFile) at(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.set.Position(pos).Line, fmt.Sprintf(format, args...))
}

// imports calls fn for each import with its path and the name it has in the file.
func (f *goFile) imports(fn func(spec *ast.ImportSpec, imported, name string)) {
	for _, spec := range f.ast.Imports {
		imported := strings.Trim(spec.Path.Value, `"`)
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		fn(spec, imported, name)
	}
}

// uses calls fn for each name that the file takes from a package, as in time.Now.
func (f *goFile) uses(imported string, fn func(pos token.Pos, name string)) {
	local := ""
	f.imports(func(_ *ast.ImportSpec, p, name string) {
		if p == imported {
			local = name
		}
	})
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				fn(sel.Pos(), sel.Sel.Name)
			}
		}
		return true
	})
}

// within reports whether a path is dir or lies in it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
