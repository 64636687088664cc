package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// walked are the folders whose files docs/walkthrough.md must name, tests apart. The folder
// storage/pebble joins them when what no command passes has moved out of it.
var walked = []string{"ttl"}

// checkWalkthrough returns the files that docs/walkthrough.md does not name.
func checkWalkthrough(t *tree, walked []string) (problems []string) {
	page := t.content("docs/walkthrough.md")
	for _, f := range t.files {
		if slices.Contains(walked, f.dir()) && !f.isTest() && !strings.Contains(page, "`"+f.path+"`") {
			problems = append(problems, fmt.Sprintf("%s: docs/walkthrough.md does not name it", f.path))
		}
	}
	return problems
}

// checkDrawing returns the packages that docs/architecture.md does not describe: a line of its
// table begins with each of them.
func checkDrawing(t *tree) (problems []string) {
	page := t.content("docs/architecture.md")
	for _, f := range t.files {
		problem := fmt.Sprintf("%s: docs/architecture.md does not describe it", f.dir())
		described := strings.Contains(page, "\n| `"+path.Clean(f.dir())+"` |")
		if !described && !slices.Contains(problems, problem) {
			problems = append(problems, problem)
		}
	}
	return problems
}

// content returns the text of a page, "" if there is none.
func (t *tree) content(page string) string {
	for _, file := range t.texts {
		if file.path == page {
			return file.content
		}
	}
	return ""
}
