package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
)

// retiredWord must not be part of a name that is declared. It was a picture of a thing that
// has a name already, in Redis, Pebble, PostgreSQL, CockroachDB or Go's library.
type retiredWord struct {
	words string // with spaces between
	write string
	// in are the folders, with those below them, where the words are retired; none means all.
	in []string
	// except are the folders where a word is right, or is still to be replaced.
	except []string
}

// The folders of the engine still have some of the words. An exemption goes with the last one.
var (
	inServer  = []string{"server"}
	notEngine = []string{"storage/pebble"}
)

var retiredWords = []retiredWord{
	{words: "stranger strangers", write: "preAuth", except: notEngine},
	{words: "member members", write: "authenticated"},
	{words: "welcome", write: "accept"},
	{words: "enter", write: "autoLogin", except: notEngine},
	{words: "permit", write: "authorize"},
	{words: "admit", write: "lookup", in: inServer},
	{words: "tell", write: "reply, report or log", except: notEngine},
	{words: "note noted notes", write: "publish, record or message", except: notEngine},
	{words: "frames", write: "commandReader", in: inServer},
	{words: "seen", write: "info, highWater or published", in: append([]string{"ttl"}, inServer...)},
	{words: "mark marks", write: "version or syncedUpTo", in: inServer},
	{words: "place places", write: "range or index", in: append([]string{"ttl", "cmd"}, inServer...)},
	{words: "front", write: "cache", except: notEngine},
	{words: "cramped crowds chokes stuck", write: "one state: normal, compactionsBlocked, flushBlocked, full", except: notEngine},
	{words: "pinch slack spared bare", write: "threshold, hysteresis or headroom", except: notEngine},
	{words: "squeeze squeezer", write: "reclaim, reclaimer", except: notEngine},
	{words: "jammed stalls", write: "write gate", except: notEngine},
	{words: "filed", write: "dueEntry", except: notEngine},
	{words: "fate", write: "outcome", except: notEngine},
	{words: "lasting", write: "needsDisk", except: notEngine},
	{words: "blame", write: "recheckBlock", except: notEngine},
	{words: "grain stride stretch", write: "resolution, step or byteRange", except: notEngine},
}

// partOfName finds the words of a name: "keySpec", "TLSPort".
var partOfName = regexp.MustCompile(`[A-Z]?[a-z0-9]+|[A-Z]+`)

// retiredPhrases must not be part of a comment: they are English words, but not English.
var retiredPhrases = []struct {
	phrase *regexp.Regexp
	write  string
	except []string
}{
	{regexp.MustCompile(`(^|[.;:] )Who [^.?]*\.`), "name the one who does it", []string{"storage"}},
	{regexp.MustCompile(`(?i)\b(as ever|anew|with leave)\b`), "as before, again, may", []string{"storage"}},
	{regexp.MustCompile(`(?i)\b(tell|tells|told) of\b`), "reports, shows or logs", []string{"storage"}},
}

// checkRetired returns the names and comments with a word that was replaced. Tests are free.
func checkRetired(t *tree) []string {
	var problems []string
	for _, f := range t.files {
		if f.isTest() || f.dir() == "internal/lint" {
			continue
		}
		f.declares(func(id *ast.Ident) {
			for _, part := range partOfName.FindAllString(id.Name, -1) {
				if write := f.retires(strings.ToLower(part)); write != "" {
					problems = append(problems, f.at(id.Pos(), "%s: %q was replaced: write %s", id.Name, strings.ToLower(part), write))
				}
			}
		})
		for _, comment := range f.ast.Comments {
			text := strings.ReplaceAll(comment.Text(), "\n", " ")
			for _, r := range retiredPhrases {
				if found := r.phrase.FindString(text); found != "" && !f.in(r.except) {
					problems = append(problems, f.at(comment.Pos(), "%q: %s", strings.Trim(found, ".;: "), r.write))
				}
			}
		}
	}
	return problems
}

// retires returns what to write instead of a word in this file, or "" if it may stay.
func (f *goFile) retires(word string) string {
	for _, r := range retiredWords {
		if slices.Contains(strings.Fields(r.words), word) && (r.in == nil || f.in(r.in)) && !f.in(r.except) {
			return r.write
		}
	}
	return ""
}

// in reports whether the file lies in one of the folders, or below it.
func (f *goFile) in(dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return within(f.dir(), dir) })
}

// declares calls fn for each name that the file gives to something.
func (f *goFile) declares(fn func(*ast.Ident)) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		var names []*ast.Ident
		switch n := n.(type) {
		case *ast.FuncDecl:
			names = []*ast.Ident{n.Name}
		case *ast.TypeSpec:
			names = []*ast.Ident{n.Name}
		case *ast.ValueSpec:
			names = n.Names
		case *ast.Field:
			names = n.Names
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				names = identifiers(n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				names = identifiers(n.Key, n.Value)
			}
		}
		for _, id := range names {
			fn(id)
		}
		return true
	})
}

// identifiers returns those of the expressions that are plain names.
func identifiers(list ...ast.Expr) (names []*ast.Ident) {
	for _, e := range list {
		if id, ok := e.(*ast.Ident); ok {
			names = append(names, id)
		}
	}
	return names
}
