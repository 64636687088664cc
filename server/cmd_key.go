package server

import (
	"bytes"

	"github.com/sessiond/sessiond/storage"
)

// runDel counts a key once, even if it is named several times.
func runDel(c *call) error {
	deleted := 0
	for i := 1; i < len(c.args); i++ {
		found, err := c.tx.Delete(c.key(i))
		if err != nil {
			return err
		}
		if found {
			deleted++
		}
	}
	c.out.Int(int64(deleted))
	return nil
}

// runExists counts a key as often as it is named.
func runExists(c *call) error {
	existing := 0
	for i := 1; i < len(c.args); i++ {
		_, found, err := c.readStat(i)
		if err != nil {
			return err
		}
		if found {
			existing++
		}
	}
	c.out.Int(int64(existing))
	return nil
}

func runType(c *call) error {
	r, found, err := c.readStat(1)
	if err != nil {
		return err
	}
	if found {
		c.out.Simple(r.Kind.String())
	} else {
		c.out.Simple("none")
	}
	return nil
}

// runRename moves the deadline along with the value. Renaming a key to itself changes nothing.
func runRename(c *call) error {
	if _, err := rename(c, true); err != nil {
		return err
	}
	c.out.OK()
	return nil
}

func runRenameNX(c *call) error {
	renamed, err := rename(c, false)
	if err != nil {
		return err
	}
	c.out.Flag(renamed)
	return nil
}

func rename(c *call, replace bool) (renamed bool, err error) {
	if bytes.Equal(c.args[1], c.args[2]) {
		_, found, err := c.tx.Stat(c.key(1))
		if err == nil && !found {
			err = errNoSuchKey
		}
		return false, err
	}
	found, copied, err := copyRecord(c.tx, c.key(1), c.key(2), replace)
	switch {
	case err != nil:
		return false, err
	case !found:
		return false, errNoSuchKey
	case !copied:
		return false, nil
	}
	_, err = c.tx.Delete(c.key(1))
	return true, err
}

// copyRecord copies the record under from, with its deadline, to the key to. It does nothing if to
// exists and replace is false.
func copyRecord(tx *storage.Tx, from, to storage.Key, replace bool) (found, copied bool, err error) {
	if !replace {
		_, occupied, err := tx.Stat(to)
		if err != nil {
			return false, false, err
		}
		if occupied {
			_, found, err := tx.Stat(from)
			return found, false, err
		}
	}
	r, found, err := tx.Find(from)
	if err != nil || !found {
		return false, false, err
	}
	// The value that Find returned is valid until this function returns; Put needs it longer.
	r.Value = bytes.Clone(r.Value)
	return true, true, tx.Put(to, r)
}

// copyOptions are the arguments of COPY behind the two keys.
type copyOptions struct {
	db      int // the database of the copy
	replace bool
}

// parseCopy reads the options of COPY for a connection that has selected db.
func parseCopy(args [][]byte, db, databases int) (o copyOptions, err error) {
	o.db = db
	for i := 0; i < len(args); i++ {
		switch {
		case equalFold(args[i], "REPLACE"):
			o.replace = true
		case equalFold(args[i], "DB") && i+1 < len(args):
			i++
			if o.db, err = parseDB(args[i], databases); err != nil {
				return copyOptions{}, err
			}
		default:
			return copyOptions{}, errSyntax
		}
	}
	return o, nil
}

// copyScope returns the keys of COPY: the copy may be in another database.
func copyScope(c *call) (storage.Scope, error) {
	o, err := parseCopy(c.args[3:], c.db, c.srv.databases)
	return storage.Scope{Keys: []storage.Key{c.key(1), {DB: o.db, Name: c.args[2]}}}, err
}

func runCopy(c *call) error {
	o, err := parseCopy(c.args[3:], c.db, c.srv.databases)
	if err != nil {
		return err
	}
	if o.db == c.db && bytes.Equal(c.args[1], c.args[2]) {
		return errSameObject
	}
	found, copied, err := copyRecord(c.tx, c.key(1), storage.Key{DB: o.db, Name: c.args[2]}, o.replace)
	if err = c.looked(found, err); err != nil {
		return err
	}
	c.out.Flag(copied)
	return nil
}

// moveScope returns the key in both databases.
func moveScope(c *call) (storage.Scope, error) {
	db, err := parseDB(c.args[2], c.srv.databases)
	return storage.Scope{Keys: []storage.Key{c.key(1), {DB: db, Name: c.args[1]}}}, err
}

func runMove(c *call) error {
	db, err := parseDB(c.args[2], c.srv.databases)
	if err != nil {
		return err
	}
	if db == c.db {
		return errSameObject
	}
	_, moved, err := copyRecord(c.tx, c.key(1), storage.Key{DB: db, Name: c.args[1]}, false)
	if err != nil {
		return err
	}
	if moved {
		if _, err := c.tx.Delete(c.key(1)); err != nil {
			return err
		}
	}
	c.out.Flag(moved)
	return nil
}
