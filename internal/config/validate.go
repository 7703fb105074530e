package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	projectID = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	poolName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	keyHash   = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// validate finds everything that is wrong with a configuration.
func (f *file) validate(c *Config) {
	f.validateServer(c)
	f.validateWorker(c)
	f.validateDestinations(c)
	f.validateProjects(c)
	f.validateKeys(c)
}

func (f *file) validateServer(c *Config) {
	if _, _, err := net.SplitHostPort(c.HTTP.Listen); err != nil {
		f.about("$.http.listen", "must be host:port, such as 127.0.0.1:8080")
	}
	if c.HTTP.MaxWait < time.Second {
		f.about("$.http.max_wait", "must be at least 1s")
	}
	if (c.HTTP.TLS.Cert == "") != (c.HTTP.TLS.Key == "") {
		f.about("$.http.tls", "needs both cert and key")
	}
	if c.NATS.Replicas != 1 && c.NATS.Replicas != 3 && c.NATS.Replicas != 5 {
		f.about("$.nats.replicas", "must be 1, 3 or 5")
	}
	if c.NATS.URL == "" && c.NATS.Replicas > 1 {
		f.about("$.nats.replicas", "must be 1 without nats.url: the embedded server is one")
	}
	if c.NATS.URL != "" && c.NATS.Listen != "" {
		f.about("$.nats.listen", "is for the embedded server, but nats.url names another one")
	}
	if c.NATS.Listen != "" && (c.NATS.User == "" || c.NATS.Password == "") {
		f.about("$.nats.listen", "needs nats.user and nats.password: whoever reaches the port could write to the log")
	}
	if len(c.Services) == 0 {
		f.about("$.services", "is empty")
	}
	known := []string{Gateway, Worker, Restorer, Catalog}
	for i, s := range c.Services {
		if !slices.Contains(known, s) {
			f.about(fmt.Sprintf("$.services[%d]", i), "is %q; there is %s", s, strings.Join(known, ", "))
		}
	}
	if c.DataDir == "" {
		f.about("$.data_dir", "is empty")
	}
}

func (f *file) validateWorker(c *Config) {
	if !poolName.MatchString(c.Pool) {
		f.about("$.pool", "must match %s", poolName)
	}
	if c.Backup.Slots < 1 {
		f.about("$.backup.slots", "must be at least 1")
	}
	for path, d := range map[string]time.Duration{
		"$.backup.ack_wait": c.Backup.AckWait, "$.backup.stall_timeout": c.Backup.StallTimeout, "$.backup.lock_timeout": c.Backup.LockTimeout,
		"$.restore.stall_timeout": c.Restore.StallTimeout,
	} {
		if d < time.Second {
			f.about(path, "must be at least 1s")
		}
	}
	if c.Restore.Slots < 1 {
		f.about("$.restore.slots", "must be at least 1")
	}
	if c.Restore.Patience < 0 {
		f.about("$.restore.patience", "must not be negative")
	}
	if c.Restore.KeepOld < 0 {
		f.about("$.restore.keep_old", "must not be negative")
	}
	if p := c.Restore.RolePasswords; p != BackupPasswords && p != ServerPasswords {
		f.about("$.restore.role_passwords", "is %q; it must be %s or %s", p, BackupPasswords, ServerPasswords)
	}
	if c.Encryption.Default && len(c.Encryption.Recipients) == 0 {
		f.about("$.encryption.default", "needs encryption.recipients")
	}
}

func (f *file) validateDestinations(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		path := "$.destinations." + name
		if _, ok := f.drivers(name); !ok {
			f.about(path, "is not a destination that this version knows")
			continue
		}
		if check, ok := c.Destinations[name].(Checker); ok {
			for _, text := range check.Check() {
				key, rest, _ := strings.Cut(text, " ")
				f.about(path+"."+key, "%s", rest)
			}
		}
	}
	if _, ok := c.Destinations[c.DefaultDestination]; !ok {
		f.about("$.default_destination", "is %q, but there is only %s", c.DefaultDestination, strings.Join(slices.Sorted(maps.Keys(c.Destinations)), ", "))
	}
}

func (f *file) validateProjects(c *Config) {
	seen := map[string]bool{}
	for i := range c.Projects {
		p, path := &c.Projects[i], fmt.Sprintf("$.projects[%d]", i)
		if !projectID.MatchString(p.ID) {
			f.about(path+".id", "is %q; it must match %s", p.ID, projectID)
		}
		if seen[p.ID] {
			f.about(path+".id", "%q is there twice", p.ID)
		}
		seen[p.ID] = true
		if p.Name == "" {
			p.Name = p.ID
		}
		if p.Supabase == "" && p.Database.URL == "" && p.Storage.Path == "" && p.Functions.Path == "" && p.Config.Root == "" {
			f.about(path, "has no part: set supabase, or some of database.url, storage.path, functions.path, config.root")
		}
		if p.Database.URL != "" {
			f.validateDatabase(path+".database.url", p.Database.URL)
		}
		if p.Restore.Timeout == 0 {
			p.Restore.Timeout = 5 * time.Minute
		}
		if (p.Restore.Before == "") != (p.Restore.After == "") || p.Restore.Timeout < 0 {
			f.about(path+".restore", "needs both before and after, and a timeout above zero")
		}
		if b := p.Storage.Backend; b != "" && b != "file" {
			f.about(path+".storage.backend", "is %q; a storage backend on S3 cannot be backed up yet, only file", b)
		}
		if p.EnvFile != "" && p.Supabase == "" {
			f.about(path+".env_file", "belongs to a project with supabase")
		}
		if len(p.AllowedPaths) > 0 && p.Supabase == "" {
			f.about(path+".allowed_paths", "belongs to a project with supabase")
		}
		if slices.Contains(p.AllowedPaths, "") {
			f.about(path+".allowed_paths", "has an empty path")
		}
		if p.Config.MaxFile == 0 {
			p.Config.MaxFile = defaultMaxFile
		}
		if p.Config.Root != "" && len(p.Config.Include) == 0 {
			f.about(path+".config", "has a root but no include patterns")
		}
	}
}

// defaultMaxFile is larger than any file that people write.
const defaultMaxFile = 64 << 20

func (f *file) validateDatabase(path, raw string) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" {
		f.about(path, "must be a URL such as postgres://supabase_admin:password@127.0.0.1:5432/postgres; special characters in the password are written as %%xx")
		return
	}
	if u.Port() == "6543" {
		f.about(path, "leads to port 6543, the pooler's transaction port, through which pg_dump cannot work; use the database's own port")
	}
}

func (f *file) validateKeys(c *Config) {
	for i, k := range c.Keys {
		path := fmt.Sprintf("$.keys[%d]", i)
		if k.Name == "" {
			f.about(path+".name", "is missing")
		}
		if !keyHash.MatchString(k.Hash) {
			f.about(path+".hash", "must be sha256: and 64 hex digits; `holdfastd keys new` prints it")
		}
		for resource, level := range k.Permissions {
			if resource != "backups" || level != "none" && level != "read" && level != "write" {
				f.about(path+".permissions", "%s: %s is not known; there is backups: none, read or write", resource, level)
			}
		}
		if k.Expires != "" {
			if _, err := time.Parse(time.RFC3339, k.Expires); err != nil {
				f.about(path+".expires", "must be a time such as 2027-01-01T00:00:00Z")
			}
		}
	}
}
