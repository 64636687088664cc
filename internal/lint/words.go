package lint

import (
	"fmt"
	"regexp"
	"strings"
)

// banned are the words that mean nothing, or the wrong thing, to who reads the source.
// They are written so that this file does not contain them.
var banned = []struct {
	words *regexp.Regexp
	why   string
}{
	{regexp.MustCompile(`(?i)\b(issue|pull request|ticket|bug) #?[0-9]+\b`), "a number in a tracker explains nothing: say what it is about"},
	{regexp.MustCompile(`(^|\s|\()#[0-9]+\b`), "a number in a tracker explains nothing: say what it is about"},
	{regexp.MustCompile(`(^|[^\w./-])/(work|root|home/\w+)/`), "a path of one machine"},
	{regexp.MustCompile(`\b(proxy|sum)\.golang\.` + `org\b|\bregistry\.(npm` + `js|yarn` + `pkg)\.\w+`), "the host of a registry: the tool knows it"},
}

// checkWords returns the lines with words that must not be in the source.
func checkWords(t *tree) []string {
	var problems []string
	for _, file := range t.texts {
		number := 0
		for line := range strings.SplitSeq(file.content, "\n") {
			number++
			for _, b := range banned {
				if found := b.words.FindString(line); found != "" {
					problems = append(problems, fmt.Sprintf("%s:%d: %q: %s", file.path, number, strings.TrimSpace(found), b.why))
				}
			}
		}
	}
	return problems
}
