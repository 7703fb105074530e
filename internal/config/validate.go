package config

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	word    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`) // of a project or a pool
	keyHash = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

const (
	wordRule           = "must be 1 to 63 lower-case letters, digits, '-' and '_', and begin with a letter or digit"
	defaultDestination = "local"
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
	f.validateListen("http.listen", c.HTTP.Listen)
	if c.HTTP.MetricsListen != "" {
		f.validateListen("http.metrics_listen", c.HTTP.MetricsListen)
		if c.HTTP.MetricsListen == c.HTTP.Listen && c.Has(Gateway) && !strings.HasSuffix(c.HTTP.Listen, ":0") {
			f.about("http.metrics_listen", "must be another port than http.listen")
		}
	}
	if c.NATS.Listen != "" {
		f.validateListen("nats.listen", c.NATS.Listen)
	}
	if c.HTTP.MaxWait < time.Second {
		f.about("http.max_wait", "must be at least 1s")
	}
	if c.HTTP.MaxQueued < 1 {
		f.about("http.max_queued", "must be at least 1")
	}
	if (c.HTTP.TLS.Cert == "") != (c.HTTP.TLS.Key == "") {
		f.about("http.tls", "needs both cert and key")
	}
	if c.NATS.Replicas != 1 && c.NATS.Replicas != 3 && c.NATS.Replicas != 5 {
		f.about("nats.replicas", "must be 1, 3 or 5")
	}
	if c.NATS.URL == "" && c.NATS.Replicas > 1 {
		f.about("nats.replicas", "must be 1 without nats.url: the embedded server is one")
	}
	if c.NATS.URL != "" && c.NATS.Listen != "" {
		f.about("nats.listen", "is for the embedded server, but nats.url names another one")
	}
	if c.NATS.Listen != "" && (c.NATS.User == "" || c.NATS.Password == "") {
		f.about("nats.listen", "needs nats.user and nats.password: whoever reaches the port could write to the log")
	}
	if len(c.Services) == 0 {
		f.about("services", "is empty")
	}
	known := []string{Gateway, Worker, Restorer, Catalog}
	for i, s := range c.Services {
		if !slices.Contains(known, s) {
			f.about(fmt.Sprintf("services[%d]", i), "is unknown; there is %s", strings.Join(known, ", "))
		}
	}
	if c.DataDir == "" {
		f.about("data_dir", "is empty")
	}
}

// validateListen looks at the address of a port.
func (f *file) validateListen(key, address string) {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		f.about(key, "must be host:port, such as 127.0.0.1:8080")
	}
}

func (f *file) validateWorker(c *Config) {
	if !word.MatchString(c.Pool) {
		f.about("pool", "%s", wordRule)
	}
	if c.Backup.Slots < 1 {
		f.about("backup.slots", "must be at least 1")
	}
	for path, d := range map[string]time.Duration{
		"backup.ack_wait": c.Backup.AckWait, "backup.stall_timeout": c.Backup.StallTimeout, "backup.lock_timeout": c.Backup.LockTimeout,
		"restore.stall_timeout": c.Restore.StallTimeout,
	} {
		if d < time.Second {
			f.about(path, "must be at least 1s")
		}
	}
	if c.Restore.Slots < 1 {
		f.about("restore.slots", "must be at least 1")
	}
	if c.Restore.Patience < 0 {
		f.about("restore.patience", "must not be negative")
	}
	if c.Restore.KeepOld < 0 {
		f.about("restore.keep_old", "must not be negative")
	}
	if p := c.Restore.RolePasswords; p != BackupPasswords && p != ServerPasswords {
		f.about("restore.role_passwords", "must be %s or %s", BackupPasswords, ServerPasswords)
	}
	if c.Encryption.Default && len(c.Encryption.Recipients) == 0 {
		f.about("encryption.default", "needs encryption.recipients")
	}
	for i, r := range c.Encryption.Recipients {
		if f.checks.Recipient == nil {
			break
		}
		if err := f.checks.Recipient(r); err != nil {
			f.about(fmt.Sprintf("encryption.recipients[%d]", i), "%v", err)
		}
	}
}

func (f *file) validateDestinations(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Destinations)) {
		path := "destinations." + name
		if _, ok := f.checks.Destination(name); !ok {
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
		f.about("default_destination", "must be one of the destinations: %s", strings.Join(slices.Sorted(maps.Keys(c.Destinations)), ", "))
	}
}

func (f *file) validateProjects(c *Config) {
	seen := map[string]int{}
	for i := range c.Projects {
		p, path := &c.Projects[i], fmt.Sprintf("projects[%d]", i)
		if !word.MatchString(p.ID) {
			f.about(path+".id", "%s", wordRule)
		}
		if first, ok := seen[p.ID]; ok && p.ID != "" {
			f.about(path+".id", "is that of projects[%d]", first)
		} else {
			seen[p.ID] = i
		}
		if p.Name == "" {
			p.Name = p.ID
		}
		if p.Supabase == "" && p.Database.URL == "" && p.Storage.Path == "" && p.Functions.Path == "" && p.Config.Root == "" {
			f.about(path, "has no part: set supabase, or some of database.url, storage.path, functions.path, config.root")
		}
		if p.Database.URL != "" {
			f.validateDatabase(path+".database.url", string(p.Database.URL))
		}
		f.validateFiles(path, p)
		if p.Restore.Timeout == 0 {
			p.Restore.Timeout = 5 * time.Minute
		}
		if (p.Restore.Before == "") != (p.Restore.After == "") || p.Restore.Timeout < 0 {
			f.about(path+".restore", "needs both before and after, and a timeout above zero")
		}
	}
}

// validateFiles looks at where the files of a project are.
func (f *file) validateFiles(path string, p *Project) {
	if b := p.Storage.Backend; b != "" && b != "file" {
		f.about(path+".storage.backend", "must be file; a storage backend on S3 cannot be backed up yet")
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
	for _, list := range []struct {
		key      string
		patterns []string
	}{{"include", p.Config.Include}, {"exclude", p.Config.Exclude}} {
		for i, pattern := range list.patterns {
			if f.checks.Pattern == nil {
				continue
			}
			if err := f.checks.Pattern(pattern); err != nil {
				f.about(fmt.Sprintf("%s.config.%s[%d]", path, list.key, i), "%v", err)
			}
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
