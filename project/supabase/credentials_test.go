package supabase_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/project"
	"github.com/holdfast-dev/holdfast/project/supabase"
)

// built writes files that are about to take the place of a project's.
func built(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data", "files")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func text(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compose files whose services get the password in different ways.
const (
	viaVariable = "services:\n  db: {image: supabase/postgres, environment: {POSTGRES_PASSWORD: \"${POSTGRES_PASSWORD}\"}}\n  auth: {image: supabase/gotrue, environment: {GOTRUE_DB_DATABASE_URL: \"postgres://supabase_auth_admin:${POSTGRES_PASSWORD}@db:5432/postgres\"}}\n"
	viaOther    = "services:\n  db: {image: supabase/postgres, environment: {POSTGRES_PASSWORD: \"${DB_PASS:?}\"}}\n"
	viaEnvFile  = "services:\n  db: {image: supabase/postgres, env_file: [conf/db.env]}\n"
	viaTwo      = "services:\n  db: {image: supabase/postgres, env_file: [conf/db.env]}\n  auth: {image: supabase/gotrue, environment: {GOTRUE_DB_DATABASE_URL: \"postgres://supabase_auth_admin:${POSTGRES_PASSWORD}@db:5432/postgres\"}}\n"
	viaSecret   = "services:\n  db: {image: supabase/postgres, environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}, secrets: [pw]}\nsecrets: {pw: {file: ./pw.txt}}\n"
	literally   = "services:\n  db: {image: supabase/postgres, environment: {POSTGRES_PASSWORD: from backup}}\n"
)

// TestThePasswordOfRestoredFiles is that of the files of the backup where there are
// such, and else of the project's own.
func TestThePasswordOfRestoredFiles(t *testing.T) {
	live := map[string]string{"docker-compose.yml": viaVariable, ".env": "POSTGRES_PASSWORD=live", "conf/db.env": "POSTGRES_PASSWORD=live"}
	for name, c := range map[string]struct {
		files   map[string]string
		envFile string
		want    string
	}{
		"nothing":                   {nil, "", "live"},
		"the variables":             {map[string]string{".env": "POSTGRES_PASSWORD=old"}, "", "old"},
		"another variable":          {map[string]string{"docker-compose.yml": viaOther, ".env": "POSTGRES_PASSWORD=old\nDB_PASS=this"}, "", "this"},
		"only the compose file":     {map[string]string{"docker-compose.yml": viaEnvFile}, "", "live"},
		"a file in a folder":        {map[string]string{"docker-compose.yml": viaEnvFile, "conf/db.env": "POSTGRES_PASSWORD=old"}, "", "old"},
		"a secret":                  {map[string]string{"docker-compose.yml": viaSecret, "pw.txt": "old\n"}, "", "old"},
		"a named file":              {map[string]string{".env": "POSTGRES_PASSWORD=x", "prod.env": "POSTGRES_PASSWORD=old"}, "prod.env", "old"},
		"a file above the folder":   {map[string]string{"docker-compose.yml": strings.ReplaceAll(viaEnvFile, "conf/", "../"), ".env": ""}, "", "above"},
		"a named file, by its path": {map[string]string{"prod.env": "POSTGRES_PASSWORD=old"}, "/prod.env", "old"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, live)
			write(t, filepath.Join(filepath.Dir(dir), "db.env"), "POSTGRES_PASSWORD=above")
			if strings.HasPrefix(c.envFile, "/") {
				c.envFile = dir + c.envFile
			}
			if c.envFile != "" {
				write(t, filepath.Join(dir, "prod.env"), "POSTGRES_PASSWORD=live")
			}
			from := built(t, c.files)
			cred := find(t, dir, supabase.Options{EnvFile: c.envFile, AllowedPaths: []string{"../db.env"}}).Credentials
			if got, err := cred.Password(t.Context(), ""); err != nil || got != "live" {
				t.Errorf("now: %q, %v", got, err)
			}
			if got, err := cred.Password(t.Context(), from); err != nil || got != c.want {
				t.Errorf("got %q, %v", got, err)
			}
			if left, _ := os.ReadDir(filepath.Dir(from)); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	dir := folder(t, live)
	if cred := find(t, dir, supabase.Options{}).Credentials; cred.Fixed() {
		t.Error("the files do not decide")
	}
	if cred := find(t, dir, supabase.Options{DatabaseURL: "postgres://u@h/d"}).Credentials; !cred.Fixed() {
		t.Error("the files decide")
	}
	_, err := find(t, dir, supabase.Options{}).Credentials.Password(t.Context(), built(t, map[string]string{"docker-compose.yml": "services: [", ".env": "POSTGRES_PASSWORD=s3cret"}))
	if err == nil || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "overlay-") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a broken file: %v", err)
	}
}

// TestOnlyTheLineOfThePasswordChanges and nothing else of any file.
func TestOnlyTheLineOfThePasswordChanges(t *testing.T) {
	const odd = `it's "p@ss" \w$ord #1`
	for name, c := range map[string]struct {
		files    map[string]string
		password string
		want     map[string]string
	}{
		"plain": {
			map[string]string{".env": "# POSTGRES_PASSWORD=from backup\r\nA=1\r\nPOSTGRES_PASSWORD=old  # secret\r\nDASHBOARD_PASSWORD=old\r\n"},
			"new",
			map[string]string{".env": "# POSTGRES_PASSWORD=from backup\r\nA=1\r\nPOSTGRES_PASSWORD=new  # secret\r\nDASHBOARD_PASSWORD=old\r\n"},
		},
		"needs quotes":   {map[string]string{".env": "POSTGRES_PASSWORD=old\nB='x'"}, "n w$", map[string]string{".env": "POSTGRES_PASSWORD='n w$'\nB='x'"}},
		"was quoted":     {map[string]string{".env": "\ufeffexport POSTGRES_PASSWORD = \"o\\\"ld\" # x\n"}, odd, map[string]string{".env": "\ufeffexport POSTGRES_PASSWORD = \"it's \\\"p@ss\\\" \\\\w\\$ord #1\" # x\n"}},
		"single quotes":  {map[string]string{".env": "POSTGRES_PASSWORD='old'"}, "new", map[string]string{".env": "POSTGRES_PASSWORD='new'"}},
		"a backslash":    {map[string]string{".env": "POSTGRES_PASSWORD='old'"}, `new\`, map[string]string{".env": `POSTGRES_PASSWORD="new\\"`}},
		"the last one":   {map[string]string{".env": "POSTGRES_PASSWORD=old\nPOSTGRES_PASSWORD=old\n"}, "new", map[string]string{".env": "POSTGRES_PASSWORD=old\nPOSTGRES_PASSWORD=new\n"}},
		"many lines":     {map[string]string{".env": "NOTE='\nPOSTGRES_PASSWORD=old\n'\nPOSTGRES_PASSWORD=old"}, "new", map[string]string{".env": "NOTE='\nPOSTGRES_PASSWORD=old\n'\nPOSTGRES_PASSWORD=new"}},
		"refers":         {map[string]string{".env": "X=old\nPOSTGRES_PASSWORD=${X}\n"}, "new", map[string]string{".env": "X=new\nPOSTGRES_PASSWORD=${X}\n"}},
		"another name":   {map[string]string{"docker-compose.yml": viaOther, ".env": "POSTGRES_PASSWORD=old\nDB_PASS=old\n"}, odd, map[string]string{".env": "POSTGRES_PASSWORD=old\nDB_PASS=\"it's \\\"p@ss\\\" \\\\w\\$ord #1\"\n"}},
		"a file of db":   {map[string]string{"docker-compose.yml": viaEnvFile, ".env": "POSTGRES_PASSWORD=old\n", "conf/db.env": "POSTGRES_PASSWORD=old\n"}, "new", map[string]string{".env": "POSTGRES_PASSWORD=old\n", "conf/db.env": "POSTGRES_PASSWORD=new\n"}},
		"two files":      {map[string]string{"docker-compose.yml": viaTwo, ".env": "POSTGRES_PASSWORD=old\n", "conf/db.env": "POSTGRES_PASSWORD=old\n"}, "new", map[string]string{".env": "POSTGRES_PASSWORD=new\n", "conf/db.env": "POSTGRES_PASSWORD=new\n"}},
		"a secret":       {map[string]string{"docker-compose.yml": viaSecret, "pw.txt": "old\n"}, odd, map[string]string{"pw.txt": odd + "\n"}},
		"has it already": {map[string]string{".env": "POSTGRES_PASSWORD=\"new\"\n"}, "new", map[string]string{".env": "POSTGRES_PASSWORD=\"new\"\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t, map[string]string{"docker-compose.yml": viaVariable, ".env": "POSTGRES_PASSWORD=live"})
			from := built(t, c.files)
			cred := find(t, dir, supabase.Options{}).Credentials
			changed, err := cred.SetPassword(t.Context(), from, c.password)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := cred.Password(t.Context(), from); err != nil || got != c.password {
				t.Errorf("got %q, %v", got, err)
			}
			n := 0
			for name, was := range c.files {
				want, ok := c.want[name]
				if !ok {
					want = was
				}
				if got := text(t, filepath.Join(from, name)); got != want {
					t.Errorf("%s is\n%q, want\n%q", name, got, want)
				}
				if want != was {
					n++
				}
			}
			if len(changed) != n {
				t.Errorf("changed %q", changed)
			}
			if got := text(t, filepath.Join(dir, ".env")); got != "POSTGRES_PASSWORD=live" {
				t.Errorf("the project's own file is %q", got)
			}
		})
	}
}

// TestAPasswordThatIsInNoFileOfVariables is not changed.
func TestAPasswordThatIsInNoFileOfVariables(t *testing.T) {
	dir := folder(t, map[string]string{"docker-compose.yml": viaVariable, ".env": "POSTGRES_PASSWORD=live"})
	for name, files := range map[string]map[string]string{
		"in a compose file": {"docker-compose.yml": literally, ".env": "POSTGRES_PASSWORD=from backup\n"},
		"part of a value":   {"docker-compose.yml": strings.ReplaceAll(viaTwo, "supabase_auth_admin:${POSTGRES_PASSWORD}@db:5432/postgres", "${CREDENTIALS}@db/postgres"), ".env": "CREDENTIALS=a:from backup", "conf/db.env": "POSTGRES_PASSWORD=from backup"},
	} {
		from := built(t, files)
		changed, err := find(t, dir, supabase.Options{}).Credentials.SetPassword(t.Context(), from, "new")
		if err == nil || !strings.Contains(err.Error(), "in another way than by a NAME=value line") {
			t.Errorf("%s: %q, %v", name, changed, err)
		}
	}
}

// TestTheConfigurationMayLieElsewhere than in the folder of the project itself.
func TestTheConfigurationMayLieElsewhere(t *testing.T) {
	dir := folder(t, map[string]string{"docker-compose.yml": viaEnvFile, ".env": "", "conf/db.env": "POSTGRES_PASSWORD=live"})
	for root, name := range map[string]string{filepath.Join(dir, "conf"): "db.env", filepath.Dir(dir): filepath.Base(dir) + "/conf/db.env", "/nonexistent": "none"} {
		want := "old"
		if name == "none" {
			want = "live"
		}
		from := built(t, map[string]string{name: "POSTGRES_PASSWORD=old"})
		p := find(t, dir, supabase.Options{Config: project.ConfigPart{Root: root, Include: []string{"**"}}})
		if got, err := p.Credentials.Password(t.Context(), from); err != nil || got != want {
			t.Errorf("%s: got %q, %v", root, got, err)
		}
	}
}
