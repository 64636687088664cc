package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sessiond/sessiond/internal/paths"
)

// tool is a subcommand: sessiond NAME [flags]. Without a subcommand sessiond serves.
type tool struct {
	name    string
	summary string
	run     func(*toolCall) error
}

func tools() []tool {
	return []tool{
		{"backup", "copy the sessions to another folder, while sessiond serves or not", runBackup},
		{"restore", "make a data folder out of a backup", runRestore},
		{"check", "read a whole data folder, or a backup, and say what is damaged", runCheck},
		{"repair", "save what can be read of a damaged data folder into a new one", runRepair},
	}
}

// findTool returns the tool with a name, or nil if there is none.
func findTool(name string) *tool {
	for _, t := range tools() {
		if t.name == name {
			return &t
		}
	}
	return nil
}

// toolCall is one run of a tool. The tool adds its flags to set and then calls parse.
type toolCall struct {
	set            *pflag.FlagSet
	folders        []*string
	args           []string
	getenv         func(string) string
	stdout, stderr io.Writer
}

// call runs the tool. Args come without its name.
func (t *tool) call(args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c := &toolCall{args: args, getenv: getenv, stdout: stdout, stderr: stderr}
	c.set = pflag.NewFlagSet(t.name, pflag.ContinueOnError)
	c.set.SortFlags = false
	c.set.Usage = func() {} // call prints the usage
	c.set.BoolP("help", "h", false, "print this text and exit")
	err := t.run(c)
	if errors.Is(err, errHelp) {
		_, err = fmt.Fprintf(stdout, "Usage: sessiond %s [flags]\n\n%s.\n\n%s", t.name,
			strings.ToUpper(t.summary[:1])+t.summary[1:], c.set.FlagUsages())
	}
	return err
}

// errHelp ends a tool that was called with --help.
var errHelp = errors.New("help wanted")

// parse reads the command line. The data folder may come from the environment, as it does
// for the server.
func (c *toolCall) parse() error {
	if err := c.set.Parse(c.args); err != nil {
		return flagError(c.set, err)
	}
	if help, _ := c.set.GetBool("help"); help {
		return errHelp
	}
	if c.set.NArg() > 0 {
		return usagef("unexpected argument %q: see sessiond %s --help", c.set.Arg(0), c.set.Name())
	}
	if dir := c.getenv(variable("dir")); dir != "" && c.set.Lookup("dir") != nil && !c.set.Changed("dir") {
		if err := c.set.Set("dir", dir); err != nil {
			return err
		}
	}
	return paths.Absolute(c.folders...)
}

// dirFlag adds --dir, the data folder.
func (c *toolCall) dirFlag() *string {
	return c.folderFlag("dir", "./sessiond-data", "`folder` of the data")
}

// folderFlag adds a folder, whose path is absolute after parse, or empty if it was not given.
func (c *toolCall) folderFlag(name, value, usage string) *string {
	folder := c.set.String(name, value, usage)
	c.folders = append(c.folders, folder)
	return folder
}

// toolSummaries lists the tools for the usage text.
func toolSummaries() string {
	var b strings.Builder
	for _, t := range tools() {
		fmt.Fprintf(&b, "  %-8s %s\n", t.name, t.summary)
	}
	return b.String()
}
