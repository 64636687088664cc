package lint

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// pathInDocs finds what a Markdown page points to: links, and source files in code marks.
var pathInDocs = regexp.MustCompile("\\]\\(([^)#\\s]+)[^):]*\\)|`((?:[\\w.-]+/)+[\\w.-]+\\.go)`")

// checkLinks reports paths in Markdown pages that lead nowhere. Links are relative to their
// page, source files in code marks to the root.
func checkLinks(t *tree) (problems []string) {
	for _, page := range t.texts {
		if path.Ext(page.path) != ".md" {
			continue
		}
		for i, line := range strings.Split(page.content, "\n") {
			for _, m := range pathInDocs.FindAllStringSubmatch(line, -1) {
				target := m[2]
				if target == "" && !strings.Contains(m[1], "//") {
					target = path.Join(path.Dir(page.path), m[1])
				}
				if target != "" && !t.holds(target) {
					problems = append(problems, fmt.Sprintf("%s:%d: %s does not exist", page.path, i+1, target))
				}
			}
		}
	}
	return problems
}

// holds reports whether there is a file or a folder of that name.
func (t *tree) holds(name string) bool {
	for _, file := range t.texts {
		if file.path == name || strings.HasPrefix(file.path, name+"/") {
			return true
		}
	}
	return false
}
