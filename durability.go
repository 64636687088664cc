package sessiond

import "github.com/sessiond/sessiond/storage"

// Durability says how safe a change is before it is acknowledged: before a method returns,
// or before a client has its reply. No mode loses an acknowledged change when the process
// is killed; they differ in what a power cut can take back.
type Durability storage.Durability

const (
	// Session puts whatever creates, changes or ends a session on stable storage first.
	// A deadline that is only moved to a later time follows within a second: a power cut
	// before that takes the extension back, and nothing else.
	Session = Durability(storage.Session)
	// Strict puts every change on stable storage first. Redis calls it appendfsync always.
	Strict = Durability(storage.Strict)
	// EverySec puts changes on stable storage about once a second: a power cut takes back
	// at most that. Redis calls it appendfsync everysec.
	EverySec = Durability(storage.EverySec)
)

// String returns the name that ParseDurability takes.
func (d Durability) String() string { return storage.Durability(d).String() }

// ParseDurability returns the mode with that name: session, strict or everysec.
func ParseDurability(name string) (Durability, error) {
	d, err := storage.ParseDurability(name)
	return Durability(d), err
}
