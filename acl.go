package sessiond

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sessiond/sessiond/server"
	"github.com/sessiond/sessiond/server/acl"
)

// LoginOptional reports whether a client of Serve may do without a password: there is no
// Password, and neither Users nor ACLFile give the user "default" one or switch it off. It
// returns what Open would say of wrong users.
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

// users reads the users of the options. The file is where its lines come from, and so
// refused beside Users; Redis would ignore a Password beside either.
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
	return server.LoadUsers(aclFile(o.ACLFile))
}

// aclFile is the path of a file of users, in the format of Redis' aclfile.
type aclFile string

// Name returns the path.
func (f aclFile) Name() string { return string(f) }

// Load returns the lines of the file.
func (f aclFile) Load() ([]string, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the name is in the message already
		}
		return nil, err
	}
	return strings.Split(string(text), "\n"), nil
}

// Save writes a new file beside the old one and takes its place, so that there is always
// one of them, whole. Others cannot read it: it holds hashes of passwords. A link would be
// replaced, too, and who manages the file it leads to would not notice: that is refused.
func (f aclFile) Save(lines []string) error {
	if info, err := os.Lstat(string(f)); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("save %s: it is no regular file and would be replaced by one: give the path of the file itself", f)
	}
	dir := filepath.Dir(string(f))
	temp, err := os.CreateTemp(dir, filepath.Base(string(f))+".*.new") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it is gone when all went well
	_, err = temp.WriteString(strings.Join(lines, "\n") + "\n")
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), string(f))
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", f, err)
	}
	return nil
}
