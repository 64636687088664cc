package server

import (
	"strings"

	"github.com/sessiond/sessiond/storage"
)

// appendfsync returns the durability mode in Redis' words. Mode session promises more than everysec
// and less than always.
func appendfsync(s Settings) string {
	if s.Durability == storage.Strict.String() {
		return "always"
	}
	return "everysec"
}

// setAppendfsync accepts Redis' words for two of the modes. Mode session has only its own name.
func setAppendfsync(s *Settings, v []byte) error {
	if err := oneOf("everysec", "always", "no")(v); err != nil {
		return err
	}
	switch {
	case equalFold(v, "NO"):
		return settingError(`no mode leaves the disk to the operating system; "everysec" comes closest`)
	case equalFold(v, "ALWAYS"):
		s.Durability = storage.Strict.String()
	default:
		s.Durability = storage.EverySec.String()
	}
	return nil
}

func setDurability(s *Settings, v []byte) error {
	d, err := storage.ParseDurability(strings.ToLower(string(v)))
	if err != nil {
		return oneOf("session", "strict", "everysec")(v)
	}
	s.Durability = d.String()
	return nil
}

// applyDurability switches the store to the new mode. The reply waits until everything that was
// acknowledged in the old mode is on stable storage.
func applyDurability(c *call, _ []byte) {
	d, err := storage.ParseDurability(c.srv.settings.get().Durability)
	if err != nil {
		panic(err) // setDurability accepts nothing else
	}
	c.owed = max(c.owed, c.srv.keyspace.SetDurability(d))
}
