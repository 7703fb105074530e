package events

// ProjectRegistered says what a worker can back up. It is appended at the worker's
// start, and when the worker looks again, whenever it differs from the one before.
type ProjectRegistered struct {
	Name               string   `json:"name"`
	Pool               string   `json:"pool"`
	Parts              []string `json:"parts"`        // in the order of an archive
	Destinations       []string `json:"destinations"` // sorted
	DefaultDestination string   `json:"default_destination"`
	CanEncrypt         bool     `json:"can_encrypt"`
	EncryptDefault     bool     `json:"encrypt_default"`
	Problem            string   `json:"problem,omitempty"` // sentences: why parts cannot be backed up or restored
}

// EventType implements [Event].
func (ProjectRegistered) EventType() string { return "project.registered.v1" }

// ProjectRemoved says that a project is no longer backed up. Its backups stay.
type ProjectRemoved struct{}

// EventType implements [Event].
func (ProjectRemoved) EventType() string { return "project.removed.v1" }

// ProjectAggregate returns the aggregate of a project.
func ProjectAggregate(project string) Aggregate {
	return Aggregate{Project: project, Kind: KindProject, ID: "main"}
}

// BackupAggregate returns the aggregate of a backup.
func BackupAggregate(project, id string) Aggregate {
	return Aggregate{Project: project, Kind: KindBackup, ID: id}
}

// SlotAggregate returns the aggregate of a project's slot.
func SlotAggregate(project string) Aggregate {
	return Aggregate{Project: project, Kind: KindSlot, ID: "main"}
}

// Holder is one operation that holds a project's slot.
type Holder struct {
	Kind      string `json:"kind"` // KindBackup, …
	ID        string `json:"id"`
	Exclusive bool   `json:"exclusive"` // a restore is alone, backups share
}

// SlotAcquired says that an operation got the slot.
type SlotAcquired struct {
	Holder  Holder   `json:"holder"`
	Holders []Holder `json:"holders"` // all of them, after this event
}

// EventType implements [Event].
func (SlotAcquired) EventType() string { return "slot.acquired.v1" }

// SlotReleased says that an operation gave the slot back.
type SlotReleased struct {
	Holder  Holder   `json:"holder"`
	Holders []Holder `json:"holders"` // all of them, after this event
}

// EventType implements [Event].
func (SlotReleased) EventType() string { return "slot.released.v1" }
