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

// unknown returns a warning for each variable that has the prefix and stands for no flag. It is not an
// error, because another program may use the variable.
func (e environment) unknown() (messages []startMessage) {
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
		messages = append(messages, startMessage{slog.LevelWarn, "a variable is ignored: there is no such flag", attrs})
	}
	return messages
}
