package main

import (
	"log/slog"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

// environment is a list of NAME=value, as os.Environ returns it.
type environment []string

// get returns the value of a variable, "" if it is not set.
func (e environment) get(name string) string {
	for _, pair := range e {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

// variablePrefix begins the variables that stand for flags.
const variablePrefix = "SESSIOND_"

// kubernetes is what Kubernetes sets for a Service whose name begins with sessiond.
const kubernetes = `_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP)(_\w+)?)$`

// unknown warns of each variable that begins as those of the flags do and is none of them. It
// is no error: it may be somebody else's.
func (e environment) unknown() (notes []note) {
	set, others := newFlags().set, regexp.MustCompile(kubernetes)
	known := map[string]bool{}
	set.VisitAll(func(flag *pflag.Flag) { known[variable(flag.Name)] = true })
	for _, pair := range e {
		name, _, _ := strings.Cut(pair, "=")
		word, ok := strings.CutPrefix(name, variablePrefix)
		if !ok || known[name] || others.MatchString(name) {
			continue
		}
		attrs := []any{"variable", name}
		flag := strings.ToLower(strings.ReplaceAll(word, "_", "-"))
		if near := nearest(flag, flagNames(set)); near != "" {
			attrs = append(attrs, "did you mean", variable(near))
		}
		notes = append(notes, note{slog.LevelWarn, "a variable is ignored: there is no such flag", attrs})
	}
	return notes
}
