package enginetest

import (
	"errors"
	"fmt"

	"github.com/sessiond/sessiond/storage"
)

// elementVerbs are the changes of elements that the random run makes.
var elementVerbs = []string{"putelement", "putelement", "putelement", "deleteelement", "setvalue", "moveelements", "elements"}

// onElements is do for what concerns elements; ok is false for anything else. A record that is not there is an
// answer, not an error.
func (o op) onElements(r storage.Reader) (answer string, ok bool, err error) {
	k, element := o.key.key(), []byte(o.element)
	var changed bool
	switch o.verb {
	case "elements":
		pairs, err := readElements(r.(storage.ElementReader), k)
		return fmt.Sprintf("%.80q, %s", pairs, nameOf(err)), true, err
	case "putelement":
		changed, err = r.(storage.ElementTxn).PutElement(k, element, []byte(o.value))
	case "deleteelement":
		changed, err = r.(storage.ElementTxn).DeleteElement(k, element)
	case "setvalue":
		err = r.(storage.ElementTxn).SetValue(k, []byte(o.value))
	case "moveelements":
		err = r.(storage.ElementTxn).MoveElements(k, o.to.key())
	default:
		return "", false, nil
	}
	answer = fmt.Sprintf("%v, %s", changed, nameOf(err))
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return answer, true, err
}

// allElements returns the elements of each record, where the engine keeps any.
func allElements(r storage.Reader, records contents) (map[id]string, error) {
	all := map[id]string{}
	elements, ok := r.(storage.ElementReader)
	if !ok {
		return all, nil
	}
	for k := range records {
		pairs, err := readElements(elements, k.key())
		if err != nil {
			return nil, fmt.Errorf("elements of %v: %w", k, err)
		}
		all[k] = fmt.Sprintf("%.80q", pairs)
	}
	return all, nil
}
