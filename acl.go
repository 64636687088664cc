package sessiond

import (
	"errors"

	"github.com/sessiond/sessiond/internal/aclfile"
	"github.com/sessiond/sessiond/server"
	"github.com/sessiond/sessiond/server/acl"
)

// LoginOptional reports whether a client of Serve may do without a password: there is no
// Password, and neither Users nor ACLFile give the user "default" a password or switch it off. Its
// error is the one that Open returns for wrong users.
func (o Options) LoginOptional() (bool, error) {
	users, err := o.users()
	switch {
	case err != nil:
		return false, err
	case users.DefinesDefault():
		return users.Open(), nil
	}
	return o.Password == "", nil
}

// users reads the users of the options. It refuses an ACLFile together with Users or a Password, and a
// Password together with a default user; Redis would ignore the Password.
func (o Options) users() (*acl.Definitions, error) {
	if o.ACLFile == "" {
		users, err := server.ParseUsers(o.Users)
		if err == nil && users.DefinesDefault() && o.Password != "" {
			err = errors.New("user default: its password is given by the password of the server, too")
		}
		return users, err
	}
	switch {
	case len(o.Users) > 0:
		return nil, errors.New("users are given in an ACL file and beside it: put all of them in the file")
	case o.Password != "":
		return nil, errors.New("a password and an ACL file: put the password in the file, as that of the user default")
	}
	return server.LoadUsers(aclfile.Path(o.ACLFile))
}
