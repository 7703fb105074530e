package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdfast-dev/holdfast/archive"
)

// restoredMeaning says what a warning of a backup means for a restore. The part and the
// count are filled in.
var restoredMeaning = map[string]string{
	fileVanished:      "%d files of the part %s vanished while the backup was made, so it does not hold them",
	fileChanged:       "%d files of the part %s changed while the backup read them, so they may come back half old and half new; look at them",
	fileSkipped:       "%d sockets, pipes or devices of the part %s are not in the backup",
	linkSkipped:       "%d symbolic links of the part %s lead out of its folder, so the backup does not hold them; those that are there now stay",
	nameSkipped:       "%d files or folders of the part %s have names that no archive can hold, so the backup does not hold them",
	attributesSkipped: "%d files or folders of the part %s come back without some of their extended attributes",
	liveData:          "%d folders or files of the part %s hold the data of a service, so the backup does not hold them",
	fileLarge:         "%d files of the part %s are larger than config.max_file, so the backup does not hold them",
	mountsApart:       "%d folders or files that the service of the part %s mounts from other places are not in the backup, and stay",
	patternEmpty:      "%d include patterns of the part %s matched nothing when the backup was made",

	extensionRowsMissing: "the rows of %d tables of extensions of the part %s are not in the backup; the database that is replaced has those of now",
	rowsUncounted:        "the rows of %d tables of the part %s were not counted by the backup, so it is not known whether all of them come back",
}

// notHeld are those warnings after which something that is there now may be all there
// is of it.
var notHeld = []string{fileVanished, fileSkipped, nameSkipped, liveData, fileLarge}

// RestoredWarnings returns what the warnings of a backup mean for a restore of some of
// its parts: a sentence for each kind, then each thing by its name, without a sentence.
func RestoredWarnings(ws []archive.Warning, parts []string) (out []archive.Warning) {
	type kind struct{ part, code string }
	count, first, order := map[kind]int{}, map[kind]string{}, []kind{}
	var named []archive.Warning
	for _, w := range ws {
		_, known := restoredMeaning[w.Code]
		if !slices.Contains(parts, w.Part) || w.Part == Database && !known {
			continue
		}
		k := kind{w.Part, w.Code}
		if count[k]++; count[k] == 1 {
			first[k], order = w.Sentence, append(order, k)
		}
		if w.Name != "" {
			named = append(named, archive.Warning{Part: w.Part, Code: "backup_" + w.Code, Name: w.Name})
		}
	}
	for _, k := range order {
		out = append(out, archive.Warning{Part: k.part, Code: "backup_" + k.code, Sentence: meaning(k.part, k.code, count[k], first[k])})
	}
	return append(out, named...)
}

// meaning returns the sentence for some warnings of a kind; first is that of the first.
func meaning(part, code string, n int, first string) string {
	format, ok := restoredMeaning[code]
	switch {
	case !ok && n == 1:
		return "The backup was made with a warning: " + first
	case !ok:
		return fmt.Sprintf("The backup was made with %d warnings of the kind %s; the first is: %s", n, code, first)
	}
	sentence := upperFirst(fmt.Sprintf(format, n, part))
	if slices.Contains(notHeld, code) {
		if part == Config {
			return sentence + "; what is there under their names now stays."
		}
		return sentence + "; what is there under their names now is kept with what is replaced, for as long as that is."
	}
	return sentence + "."
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
