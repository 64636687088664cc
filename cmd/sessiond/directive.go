package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// directive is a directive of redis.conf, or several of one kind, that sessiond does not need. Each one
// is accepted as a flag that --help leaves out, because it may ask for what sessiond does anyway.
type directive struct {
	names string // with spaces between
	// so are the values that ask for what sessiond does anyway. They are accepted, and a line at INFO
	// says what sessiond does. Nil means all values.
	so   []string
	does string // what sessiond does
	// refusal says why all other values are refused, and what to do. A value is refused if an operator
	// who gives it relies on something that sessiond does not have. Without a refusal all values are
	// accepted, and the line is a warning.
	refusal string
}

// accepts returns the level of the line for a value, or the reason why the value is refused.
func (d *directive) accepts(value string) (slog.Level, error) {
	same := func(so string) bool { return strings.EqualFold(so, strings.TrimSpace(value)) }
	switch {
	case d.so == nil || slices.ContainsFunc(d.so, same):
		return slog.LevelInfo, nil
	case d.refusal != "":
		return 0, errors.New(d.refusal)
	}
	return slog.LevelWarn, nil
}

// startMessage is a line that is logged at the start.
type startMessage struct {
	level   slog.Level
	message string
	attrs   []any
}

// directiveFlag is the flag of one directive. It keeps the level of the line for the value,
// and not the value.
type directiveFlag struct {
	directive *directive
	level     slog.Level
}

// Type implements pflag.Value.
func (*directiveFlag) Type() string { return "directive" }

// String implements pflag.Value.
func (*directiveFlag) String() string { return "" }

// Set implements pflag.Value. A value may have several words.
func (d *directiveFlag) Set(value string) (err error) {
	d.level, err = d.directive.accepts(value)
	return err
}

// addDirectives adds all directives to the set.
func addDirectives(set *pflag.FlagSet) {
	for _, d := range directives() {
		for _, name := range strings.Fields(d.names) {
			set.Var(&directiveFlag{directive: &d}, name, "")
			set.Lookup(name).Hidden = true
		}
	}
}

// directiveMessages says what the directives that were given mean here.
func directiveMessages(set *pflag.FlagSet) (messages []startMessage) {
	set.VisitAll(func(flag *pflag.Flag) {
		d, ok := flag.Value.(*directiveFlag)
		if !ok || !flag.Changed {
			return
		}
		message := "a directive of redis.conf is not needed"
		if d.level > slog.LevelInfo {
			message = "a directive of redis.conf is not followed"
		}
		messages = append(messages, startMessage{d.level, message, []any{"directive", flag.Name, "sessiond", d.directive.does}})
	})
	return messages
}

// joinWords joins the words after a directive into one value, as in "--save 900 1 300 10", up to the
// next word that begins with "--". It does the same for a flag that takes a list or a line of
// redis.conf, as in "--bind 127.0.0.1 -::1".
func joinWords(set *pflag.FlagSet, args []string) []string {
	var joined []string
	for len(args) > 0 && args[0] != "--" {
		name, first, hasFirst := strings.Cut(args[0], "=")
		flag := set.Lookup(strings.TrimPrefix(name, "--"))
		if flag == nil || !strings.HasPrefix(name, "--") {
			joined, args = append(joined, args[0]), args[1:]
			continue
		}
		n := 1
		switch flag.Value.Type() {
		case "directive", "stringArray", "stringSlice", "outputLimits":
			for n < len(args) && !strings.HasPrefix(args[n], "--") && args[n] != "-h" {
				n++
			}
		default:
			if flag.NoOptDefVal == "" && !hasFirst {
				n = min(2, len(args))
			}
		}
		words := args[1:n]
		if hasFirst {
			words = append([]string{first}, words...)
		}
		if len(words) > 0 || flag.Value.Type() == "directive" {
			joined = append(joined, name+"="+joinLine(words))
		} else {
			joined = append(joined, name) // pflag reports the missing value
		}
		args = args[n:]
	}
	return append(joined, args...)
}

// joinLine joins words into a line in the form of redis.conf.
func joinLine(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	line := slices.Clone(words)
	for i, word := range line {
		if word == "" {
			line[i] = `""`
		}
	}
	return strings.Join(line, " ")
}
