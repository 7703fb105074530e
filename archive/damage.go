package archive

import "errors"

// damages says for people what errors of a [Reader] mean, the most telling first.
var damages = []struct {
	err  error
	text string
}{
	{ErrVersion, "a later version of Holdfast made it"},
	{ErrTwice, "it holds the same name twice"},
	{errNoFolder, "it holds a file and a folder of the same name"},
	{ErrUnsafe, "it holds something unsafe"},
	{ErrLimit, "it holds more than its manifest says"},
}

// Damage says for people what is wrong with an archive of which reading has failed with
// err. It names no entry.
func Damage(err error) string {
	for _, d := range damages {
		if errors.Is(err, d.err) {
			return d.text
		}
	}
	return "what was read does not match its sums"
}
