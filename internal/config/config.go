// Package config reads the configuration file. It is read once, at start; no
// other package looks at files or variables of the environment for settings.
package config

import (
	"slices"
	"time"
)

// Config is the configuration file. The defaults are those of [Default].
type Config struct {
	File               string         `yaml:"-"`        // that was read; empty: none
	DataDir            string         `yaml:"data_dir"` // event log, catalog, scratch
	HTTP               HTTP           `yaml:"http"`
	NATS               NATS           `yaml:"nats"`
	Services           []string       `yaml:"services"` // of this process
	Pool               string         `yaml:"pool"`     // of this worker
	MinFree            Size           `yaml:"min_free"` // stays free on the disks of this machine
	Backup             Backup         `yaml:"backup"`
	Restore            Restore        `yaml:"restore"`
	Projects           []Project      `yaml:"projects"`
	DefaultDestination string         `yaml:"default_destination"`
	Destinations       map[string]any `yaml:"destinations"` // decoded into what the caller of Load gives
	Encryption         Encryption     `yaml:"encryption"`
	Keys               []Key          `yaml:"keys"`
}

// HTTP is where the process listens.
type HTTP struct {
	Listen        string        `yaml:"listen"`         // host:port of the gateway
	MetricsListen string        `yaml:"metrics_listen"` // host:port of /healthz, /readyz and /metrics; empty: those of the gateway, if there is one
	MaxWait       time.Duration `yaml:"max_wait"`       // of a request for its backup
	MaxQueued     int           `yaml:"max_queued"`     // jobs of a project that wait or run; beyond that requests are refused
	TLS           struct {
		Cert string `yaml:"cert"` // PEM files
		Key  string `yaml:"key"`
	} `yaml:"tls"`
}

// NATS says where the log is.
type NATS struct {
	URL      Secret `yaml:"url"`      // may hold a password; empty: embedded
	Replicas int    `yaml:"replicas"` // of the streams: 1, or 3 on a cluster
	Creds    string `yaml:"creds"`    // file
	Listen   string `yaml:"listen"`   // host:port of the embedded server; empty: no port
	User     string `yaml:"user"`     // of that port
	Password Secret `yaml:"password"`
	TLS      struct {
		CA   string `yaml:"ca"` // PEM files
		Cert string `yaml:"cert"`
		Key  string `yaml:"key"`
	} `yaml:"tls"`
}

// Backup shapes the worker of backups.
type Backup struct {
	Slots        int           `yaml:"slots"`         // backups at a time
	AckWait      time.Duration `yaml:"ack_wait"`      // how soon after a crash another worker takes over
	StallTimeout time.Duration `yaml:"stall_timeout"` // a backup in which nothing moves for so long fails
	LockTimeout  time.Duration `yaml:"lock_timeout"`  // how long pg_dump waits for a lock
}

// Restore shapes the worker of restores.
type Restore struct {
	Slots        int           `yaml:"slots"`
	KeepOld      time.Duration `yaml:"keep_old"`      // how long what was replaced is kept
	StallTimeout time.Duration `yaml:"stall_timeout"` // a restore in which nothing moves for so long fails
	Patience     time.Duration `yaml:"patience"`      // how long an archive or the event log may be out of reach

	// RolePasswords says which password the roles of the services and the restored files
	// have after a restore: that of the backup or that of the server.
	RolePasswords string `yaml:"role_passwords"`

	// PrivilegedModes lets restored files and folders have the setuid and setgid bits of
	// the archive. Whoever may write to a destination could use them to become root.
	PrivilegedModes bool `yaml:"privileged_modes"`
}

// Values of [Restore.RolePasswords].
const (
	BackupPasswords = "backup"
	ServerPasswords = "server"
)

// Project says where the parts of a project are.
type Project struct {
	ID       string `yaml:"id"`
	Name     string `yaml:"name"`     // default: the id
	Supabase string `yaml:"supabase"` // folder in which all parts are found
	EnvFile  string `yaml:"env_file"` // of that folder, instead of .env

	// AllowedPaths are files and folders outside of the folder Supabase, absolute or
	// relative to it, that its compose files may name: as bind mounts, env_file, include,
	// secrets. Nothing else outside of the folder is read or written.
	AllowedPaths []string `yaml:"allowed_paths"`

	Database  Database    `yaml:"database"`
	Storage   Storage     `yaml:"storage"`
	Functions Folder      `yaml:"functions"`
	Config    ConfigFiles `yaml:"config"`
	Restore   Hooks       `yaml:"restore"`
}

// Hooks are commands that stop and start a project's services around a restore.
type Hooks struct {
	Before  string        `yaml:"before"` // run by sh in the project's folder
	After   string        `yaml:"after"`
	Timeout time.Duration `yaml:"timeout"` // of each; default 5m
}

// Database says how to reach the database.
type Database struct {
	URL     Secret `yaml:"url"`      // postgres://…
	Tools   string `yaml:"tools"`    // folder of pg_dump
	RootKey string `yaml:"root_key"` // file of pgsodium
}

// Storage says where the files of the storage service are. The word none takes the
// place of the mapping: they are not backed up.
type Storage struct {
	None    bool   `yaml:"-"`
	Path    string `yaml:"path"`
	Tenant  string `yaml:"tenant"`  // folder of the project below path; default stub/stub
	Backend string `yaml:"backend"` // file, the only one that is supported
}

// Folder is the folder of a part, or the word none: the part is not backed up.
type Folder struct {
	None bool   `yaml:"-"`
	Path string `yaml:"path"`
}

// ConfigFiles says which files are the configuration of a project.
type ConfigFiles struct {
	Root    string   `yaml:"root"`
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
	MaxFile Size     `yaml:"max_file"` // larger files are left out with a warning; default 64MiB
}

// Encryption says who can read encrypted archives.
type Encryption struct {
	Default      bool     `yaml:"default"`
	Recipients   []string `yaml:"recipients"`    // age1…
	IdentityFile string   `yaml:"identity_file"` // without one the server can encrypt but not read
}

// Key is an API key.
type Key struct {
	Name        string            `yaml:"name"`
	Hash        string            `yaml:"hash"`        // sha256:…
	Permissions map[string]string `yaml:"permissions"` // none, read or write by resource
	Projects    []string          `yaml:"projects"`    // nil: all; empty: none
	Expires     string            `yaml:"expires"`     // RFC 3339; empty: never
}

// Names of the services.
const (
	Gateway  = "gateway"
	Worker   = "backup"
	Catalog  = "catalog"
	Restorer = "restore"
)

// Default returns the configuration of no file at all.
func Default() Config {
	c := Config{
		DataDir: "./holdfast-data", Services: []string{Gateway, Worker, Restorer, Catalog}, Pool: "default", MinFree: 1 << 30,
		Backup:  Backup{Slots: 1, AckWait: 30 * time.Second, StallTimeout: 10 * time.Minute, LockTimeout: time.Minute},
		Restore: Restore{Slots: 1, KeepOld: 24 * time.Hour, StallTimeout: 30 * time.Minute, Patience: 10 * time.Minute, RolePasswords: BackupPasswords},
	}
	c.HTTP.Listen, c.HTTP.MaxWait, c.HTTP.MaxQueued, c.NATS.Replicas, c.DefaultDestination = "127.0.0.1:8080", 30*time.Minute, 1000, 1, defaultDestination
	return c
}

// Has reports whether this process runs a service.
func (c Config) Has(service string) bool {
	return slices.Contains(c.Services, service)
}
