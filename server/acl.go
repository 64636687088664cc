package server

import (
	"strings"

	"github.com/sessiond/sessiond/server/acl"
)

// ParseUsers reads ACL users as the directive user of redis.conf has them: a name and its
// rules, "alice on >secret ~sess:* +@read +set".
func ParseUsers(lines []string) (*acl.Definitions, error) {
	return acl.ParseUsers(newTable().acl, lines)
}

// LoadUsers reads the ACL users of a file. The error names every line that is wrong.
func LoadUsers(file acl.File) (*acl.Definitions, error) {
	return acl.LoadUsers(newTable().acl, file)
}

// aclCommands converts the rows of the table for package acl.
func aclCommands(rows []*command) *acl.Commands {
	list := make([]*acl.Command, len(rows))
	for i, cmd := range rows {
		cmd.rights = acl.Command{
			Name: cmd.fullName(), Categories: cmd.categories(), NoAuth: cmd.is(noAuth), Keys: cmd.keyNeeds(),
		}
		list[i] = &cmd.rights
	}
	return acl.NewCommands(list)
}

// keyNeeds derives the permissions from the access column, by the words of Redis: "access"
// reads, and "update", "insert" and "delete" write. A command that only checks whether a key
// exists needs any permission for it.
func (cmd *command) keyNeeds() []acl.KeyNeed {
	var needs []acl.KeyNeed
	for _, use := range cmd.keySpecs() {
		need := acl.KeyNeed{First: use.keys.first, Last: use.keys.last, Step: use.keys.step}
		for _, word := range strings.Fields(use.access) {
			switch word {
			case "access":
				need.Need |= acl.MayRead
			case "update", "insert", "delete":
				need.Need |= acl.MayWrite
			case "variable_flags":
				need.ReadIfGet = true
			}
		}
		needs = append(needs, need)
	}
	return needs
}
