// Command docgen writes docs/commands.md, the table of commands, to standard output.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/sessiond/sessiond/server"
)

func main() {
	if _, err := os.Stdout.WriteString(commandsPage(server.Commands())); err != nil {
		fmt.Fprintln(os.Stderr, "docgen:", err)
		os.Exit(1)
	}
}

const head = `# Commands

<!-- Written by "make docs" from the command table. Do not edit. -->

Names, options, replies and error texts are those of Redis. "Since" is the Redis version
that brought the command. A command that is not listed gets the reply Redis gives to a
command it does not know.
`

// commandsPage returns the page, one table for each group, in the order of the rows.
func commandsPage(commands []server.CommandInfo) string {
	var groups []string
	rows := map[string][]string{}
	for _, c := range commands {
		if _, seen := rows[c.Group]; !seen {
			groups = append(groups, c.Group)
		}
		rows[c.Group] = append(rows[c.Group], row(c))
	}
	var b strings.Builder
	b.WriteString(head)
	for _, group := range groups {
		fmt.Fprintf(&b, "\n## %s%s\n\n| command | what it does | since |\n|---|---|---|\n%s",
			strings.ToUpper(group[:1]), group[1:], strings.Join(rows[group], ""))
	}
	return b.String()
}

func row(c server.CommandInfo) string {
	usage := strings.TrimSpace(strings.ToUpper(c.Name) + " " + c.Syntax)
	// A bar would end the cell, inside of code, too.
	return fmt.Sprintf("| `%s` | %s | %s |\n", strings.ReplaceAll(usage, "|", `\|`), c.Summary, c.Since)
}
