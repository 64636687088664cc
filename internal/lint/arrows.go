package lint

import (
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// room is a package, or a family of them, and what its files may import beside the
// standard library. Tests may import more.
type room struct {
	dir     string   // a pattern of path.Match
	own     []string // packages of this module, as patterns; "." is the root
	foreign []string // modules
	// without are packages of the standard library that are none of the room's business.
	without []string
}

var rooms = []room{
	{dir: "ttl", without: []string{"os", "net", "bytes", "io", "path/filepath"}},
	{dir: "storage", own: []string{"ttl"}, without: []string{"os", "net", "path/filepath", "io/fs"}},
	{dir: "storage/enginetest", own: []string{"ttl", "storage"}, without: []string{"net"}},
	{
		dir: "storage/pebble", own: []string{"ttl", "storage", "storage/pebble/internal/*"}, without: []string{"net"},
		foreign: []string{"github.com/cockroachdb/pebble/v2"},
	},
	{
		dir: "storage/pebble/backup", foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net"},
		own: []string{"ttl", "storage/pebble", "storage/pebble/repair", "storage/pebble/internal/*"},
	},
	{
		dir: "storage/pebble/repair", foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net", "os"},
		own: []string{"ttl", "storage", "storage/pebble", "storage/pebble/internal/*"},
	},
	{
		dir: "storage/pebble/internal/logfile", foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net", "os"},
		own: []string{"storage/pebble/internal/folder", "storage/pebble/internal/layout", "storage/pebble/internal/pebblefile", "storage/pebble/internal/wal"},
	},
	{dir: "storage/pebble/internal/progress", without: []string{"net", "os"}},
	{
		dir: "storage/pebble/internal/layout", own: []string{"ttl", "storage", "storage/pebble/internal/wal"},
		foreign: []string{"github.com/dchest/siphash"}, without: []string{"net", "os", "io"},
	},
	{
		dir: "storage/pebble/internal/cache", own: []string{"ttl", "storage", "storage/pebble/internal/dirty", "storage/pebble/internal/layout"},
		without: []string{"net", "os", "io"},
	},
	{
		dir: "storage/pebble/internal/pebblefile", own: []string{"storage/pebble/internal/layout"},
		foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net", "os"},
	},
	{
		dir: "storage/pebble/internal/folder", foreign: []string{"github.com/cockroachdb/pebble/v2"},
		own: []string{"storage/pebble/internal/layout", "storage/pebble/internal/pebblefile", "storage/pebble/internal/wal"}, without: []string{"net"},
	},
	{
		dir: "storage/pebble/internal/tree", foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net", "os"},
		own: []string{
			"ttl", "storage", "storage/pebble/internal/layout", "storage/pebble/internal/dirty", "storage/pebble/internal/wal",
			"storage/pebble/internal/pebblefile",
		},
	},
	{
		dir: "storage/pebble/internal/diskspace", foreign: []string{"github.com/cockroachdb/pebble/v2"},
		own: []string{
			"ttl", "storage", "storage/pebble/internal/folder", "storage/pebble/internal/layout", "storage/pebble/internal/pebblefile",
		},
		without: []string{"net", "os"},
	},
	{dir: "storage/pebble/internal/diskspace/smalldisk", foreign: []string{"github.com/cockroachdb/pebble/v2"}, without: []string{"net", "os"}},
	{dir: "storage/pebble/internal/wal", without: []string{"net", "os", "path/filepath"}},
	{dir: "storage/pebble/internal/dirty", without: []string{"net", "os", "io"}},
	{dir: "storage/pebble/internal/mmap", own: []string{"storage/pebble/internal/wal"}},
	{
		dir: "server", own: []string{"ttl", "storage", "server/*", "internal/rawsocket"},
		without: []string{"path/filepath", "io/fs", "io/ioutil", "os/exec"},
	},
	{
		dir: "server/resp", foreign: []string{"github.com/tidwall/redcon"},
		without: []string{"net", "os", "path/filepath", "io/fs", "time"},
	},
	{dir: "server/acl", own: []string{"ttl", "server/glob"}, without: []string{"net", "os", "io", "time"}},
	{dir: "server/glob", without: []string{"net", "os", "io", "time"}},
	{dir: ".", own: []string{"ttl", "storage", "storage/*", "storage/pebble/*", "server", "server/acl", "internal/aclfile", "internal/paths"}},
	{
		dir: "cmd/sessiond", own: []string{".", "ttl", "internal/paths"},
		foreign: []string{"github.com/spf13/pflag", "github.com/schollz/progressbar/v3"},
	},
	{dir: "bench", foreign: []string{"github.com/spf13/pflag", "github.com/schollz/progressbar/v3"}},
	{dir: "internal/aclfile", without: []string{"net", "time"}},
	{dir: "internal/docgen", own: []string{"server"}},
	{dir: "internal/lint"},
	{dir: "internal/paths", without: []string{"os", "net"}},
	{dir: "internal/rawsocket", without: []string{"os"}},
	{dir: "internal/typecheck"},
}

// importers are the only packages, those below them and tests included, that may import a module.
var importers = map[string]string{
	"github.com/cockroachdb/pebble/v2": "storage/pebble",
	"github.com/tidwall/redcon":        "server",
}

// harmlessOS are the names of package os that reach no file: all that server may use. The
// files usage_*.go are free: INFO tells what the system says about the process.
var harmlessOS = []string{"Getpid", "Getppid", "Hostname", "Executable", "Getpagesize", "ErrDeadlineExceeded"}

// checkArrows returns each import that goes the wrong way.
func checkArrows(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		problems = append(problems, checkImporters(f)...)
		if f.isTest() {
			continue
		}
		i := slices.IndexFunc(rooms, func(r room) bool { return matches(r.dir, f.dir()) })
		if i < 0 {
			problems = append(problems, f.at(f.ast.Package, "package in no room: say in internal/lint what it may import"))
			continue
		}
		f.imports(func(spec *ast.ImportSpec, imported, _ string) {
			if !rooms[i].allows(imported) {
				problems = append(problems, f.at(spec.Pos(), "%s must not import %s", f.dir(), imported))
			}
		})
		if f.dir() == "server" && !strings.HasPrefix(f.path, "server/usage_") {
			f.uses("os", func(pos token.Pos, name string) {
				if !slices.Contains(harmlessOS, name) {
					problems = append(problems, f.at(pos, "server must not use os.%s: it knows nothing of files", name))
				}
			})
		}
	}
	return problems
}

func checkImporters(f *goFile) []string {
	var problems []string
	f.imports(func(spec *ast.ImportSpec, imported, _ string) {
		for foreign, only := range importers {
			if within(imported, foreign) && !within(f.dir(), only) {
				problems = append(problems, f.at(spec.Pos(), "only %s imports %s", only, foreign))
			}
		}
	})
	return problems
}

func (r room) allows(imported string) bool {
	if within(imported, module) {
		own := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
		if own == "" {
			own = "."
		}
		return slices.ContainsFunc(r.own, func(pattern string) bool { return matches(pattern, own) })
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") { // the standard library
		return !slices.Contains(r.without, imported)
	}
	return slices.ContainsFunc(r.foreign, func(m string) bool { return within(imported, m) })
}

func matches(pattern, name string) bool {
	ok, _ := path.Match(pattern, name) // the patterns above are well-formed
	return ok
}
