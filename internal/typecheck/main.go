// Command typecheck looks at the packages of this module, their tests and all that they import
// as other systems see them, and compiles nothing: it finds what a build for such a system
// would find, but for faults in assembly and at linking, in a small part of the time.
//
// Its arguments are systems, as in "go run ./internal/typecheck windows/arm64 darwin/amd64".
// It prints what does not fit, and the exit code is 1 then.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	code := 0
	for _, system := range os.Args[1:] {
		if err := check(system, "./..."); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", system, err)
			code = 1
		}
	}
	os.Exit(code)
}

// listed is what the go command says of a package.
type listed struct {
	Dir, ImportPath string
	GoFiles         []string
	ImportMap       map[string]string // what an import in its source stands for, where it differs
	Standard        bool              // of Go itself, which is known to build
	Module          *struct{ GoVersion string }
}

// program is the packages of one system that have been checked.
type program struct {
	files    *token.FileSet
	sizes    types.Sizes
	packages map[string]*types.Package
}

// check returns the faults of the packages that match the pattern, joined.
func check(system, pattern string) error {
	goos, goarch, _ := strings.Cut(system, "/")
	p := &program{
		files: token.NewFileSet(), sizes: types.SizesFor("gc", goarch),
		packages: map[string]*types.Package{"unsafe": types.Unsafe},
	}
	if p.sizes == nil {
		return errors.New("no such processor: want a system such as linux/arm64")
	}
	packages, err := list(goos, goarch, pattern)
	if err != nil {
		return err
	}
	var faults []error
	for _, pkg := range packages { // each comes after what it imports
		faults = append(faults, p.add(pkg)...)
	}
	return errors.Join(faults...)
}

func list(goos, goarch, pattern string) (packages []listed, err error) {
	cmd := exec.Command("go", "list", "-deps", "-test", "-json=Dir,ImportPath,GoFiles,ImportMap,Standard,Module", pattern)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg listed
		switch err := decoder.Decode(&pkg); {
		case err == io.EOF:
			return packages, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		if pkg.ImportPath != "unsafe" && !strings.HasSuffix(pkg.ImportPath, ".test") { // those have no source
			packages = append(packages, pkg)
		}
	}
}

// add checks a package whose imports have been added, and returns its faults.
func (p *program) add(pkg listed) (faults []error) {
	var source []*ast.File
	for _, name := range pkg.GoFiles {
		file, err := parser.ParseFile(p.files, filepath.Join(pkg.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return []error{err}
		}
		source = append(source, file)
	}
	config := types.Config{
		IgnoreFuncBodies: pkg.Standard, Sizes: p.sizes,
		Importer: imports(func(path string) (*types.Package, error) {
			if actual, ok := pkg.ImportMap[path]; ok {
				path = actual
			}
			if found := p.packages[path]; found != nil {
				return found, nil
			}
			return nil, errors.New("not listed by the go command")
		}),
		Error: func(err error) { faults = append(faults, err) },
	}
	if pkg.Module != nil && pkg.Module.GoVersion != "" {
		config.GoVersion = "go" + pkg.Module.GoVersion
	}
	// A package that is built for a test of another has a name such as "x [y.test]".
	path, _, _ := strings.Cut(pkg.ImportPath, " ")
	p.packages[pkg.ImportPath], _ = config.Check(path, p.files, source, nil) // Error has the faults
	return faults
}

// imports is a function that resolves an import.
type imports func(path string) (*types.Package, error)

// Import implements types.Importer.
func (f imports) Import(path string) (*types.Package, error) { return f(path) }
