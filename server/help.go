package server

import "strings"

// runHelp lists the subcommands of a container in Redis' form, with the syntax and the summaries of
// the table.
func runHelp(c *call) error {
	container := c.srv.table.byName[c.cmd.container]
	lines := []string{strings.ToUpper(container.name) +
		" <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	if container.run != nil {
		lines = append(lines, "(no subcommand)", "    "+container.summary)
	}
	for i := range container.subs {
		sub := &container.subs[i]
		if sub == c.cmd {
			continue // HELP comes last, with Redis' text
		}
		usage := strings.ToUpper(sub.name)
		if sub.syntax != "" {
			usage += " " + sub.syntax
		}
		lines = append(lines, usage, "    "+sub.summary)
	}
	lines = append(lines, "HELP", "    Prints this help.")
	c.out.Array(len(lines))
	for _, line := range lines {
		c.out.Simple(line)
	}
	return nil
}
