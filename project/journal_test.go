package project_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
)

// TestADamagedRecordIsRefused and what lies in the folder of the project is believed
// neither.
func TestADamagedRecordIsRefused(t *testing.T) {
	b64 := func(name string) string { return base64.StdEncoding.EncodeToString([]byte(name)) }
	plan := func(out, in string) string { return fmt.Sprintf("{\"out\":[%q],\"in\":[%q]}\n", b64(out), b64(in)) }
	const done = `{"phase":"out","begun":1,"done":1}` + "\n" + `{"phase":"in","begun":1,"done":1}` + "\n"
	for name, record := range map[string]string{
		"a name that leads out":     plan("../../etc", "a") + done,
		"a hidden way out":          plan("a/../../b", "a") + done,
		"an absolute name":          plan("/etc", "a") + done,
		"an empty name":             plan("", "a") + done,
		"the root itself":           plan(".", "a") + done,
		"a NUL":                     plan("a\x00b", "a") + done,
		"a name of ours":            plan(".holdfast-old-0123456789", "a") + done,
		"a name twice":              fmt.Sprintf("{\"out\":[%q,%q]}\n", b64("a"), b64("a")),
		"more moves than planned":   plan("a", "a") + `{"phase":"out","begun":2,"done":2}` + "\n",
		"a negative count":          plan("a", "a") + `{"phase":"out","begun":1,"done":-1}` + "\n",
		"more made than begun":      plan("a", "a") + `{"phase":"out","begun":0,"done":1}` + "\n",
		"fewer made than before":    plan("a", "a") + done + `{"phase":"out","begun":0,"done":0}` + "\n",
		"an unknown move":           plan("a", "a") + `{"phase":"out","begun":1,"done":1,"gone":[7]}` + "\n",
		"an unknown phase":          plan("a", "a") + `{"phase":"sideways"}` + "\n",
		"a swap in an undo":         plan("a", "a") + `{"phase":"back_in","begun":1,"done":1}` + "\n" + done,
		"a move after the end":      plan("a", "a") + done + `{"phase":"undone"}` + "\n" + `{"phase":"back_in","begun":1,"done":1}` + "\n",
		"no JSON":                   plan("a", "a") + "{{\n",
		"a plan that is cut off":    strings.TrimSuffix(plan("a", "a"), "\n"),
		"nothing":                   "",
		"text in the place of JSON": "moved a to b\n",
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "a", "b")
			part := &project.FunctionsPart{Path: root}
			b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
			if err != nil {
				t.Fatal(err)
			}
			to, _ := target(t, b, project.Functions, nil)
			build(t, part.Restoration(to), b, to)
			sh(t, root, "mkdir -m 700 .holdfast-old-abcdefghij .holdfast-undone-abcdefghij; echo mine > .holdfast-old-abcdefghij/a; echo '{\"out\":[\"../x\"]}' > .holdfast-moved.json")
			before := sh(t, root, "find . | sort; find . -type f | sort | xargs cat")
			if err := os.WriteFile(filepath.Join(to.Scratch+".functions.swap"), []byte(record), 0o600); err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"swap": part.Restoration(to).Swap(t.Context()), "undo": part.Kept(to).Undo(t.Context()), "drop": part.Kept(to).Drop(t.Context()), "discard": part.Restoration(to).Discard(t.Context()),
			} {
				if err == nil || !strings.Contains(project.Sentence(err), "The record of what the restore has moved") || !strings.Contains(project.Sentence(err), "is damaged") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if got := sh(t, root, "find . | sort; find . -type f | sort | xargs cat"); got != before {
				t.Errorf("the folder has changed: %s", firstDiff(before, got))
			}
		})
	}
}

// TestAFolderOfSomebodyElseIsNotTakenForOurs when it has the name that a restore gives.
func TestAFolderOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	for _, planted := range []string{"mkdir -m 755 NAME; echo evil > NAME/a", "ln -s ../OTHER NAME", "echo evil > NAME"} {
		for _, what := range []string{"old", "undone"} {
			root, other := t.TempDir(), t.TempDir()
			write(t, root, "a", "b")
			write(t, other, "a", "theirs")
			part := &project.FunctionsPart{Path: root}
			b, _, err := dump(t, project.Project{Parts: []project.Part{part}})
			if err != nil {
				t.Fatal(err)
			}
			to, _ := target(t, b, project.Functions, nil)
			build(t, part.Restoration(to), b, to)
			if err := part.Restoration(to).Swap(t.Context()); err != nil {
				t.Fatal(err)
			}
			name := ".holdfast-" + what + "-abcdefghij"
			sh(t, root, "if [ -e "+name+" ]; then mv "+name+" ours; fi; "+strings.NewReplacer("NAME", name, "../OTHER", other).Replace(planted))
			outside, live := listBytes(t, other), sh(t, root, "cat a b")
			for _, err := range []error{part.Kept(to).Undo(t.Context()), part.Kept(to).Drop(t.Context())} {
				if err == nil && what == "old" {
					t.Errorf("%s, %s: believed", what, planted)
				}
			}
			if got := listBytes(t, other); got != outside {
				t.Errorf("%s, %s: outside: %s", what, planted, firstDiff(outside, got))
			}
			if got := sh(t, root, "cat a b"); got != live {
				t.Errorf("%s, %s: got %s", what, planted, got)
			}
		}
	}
}
