package backup

import (
	"reflect"

	"github.com/holdfast-dev/holdfast/events"
)

// Registration is what a worker last said of a project; zero if nothing, or if
// the project was removed.
type Registration struct{ Project *events.ProjectRegistered }

// Apply implements [events.State].
func (Registration) Apply(env events.Envelope) Registration {
	if e, ok := env.Event.(events.ProjectRegistered); ok {
		return Registration{&e}
	}
	return Registration{}
}

// Register decides whether there is something new to say of a project.
func Register(s Registration, e events.ProjectRegistered) (events.Event, error) {
	if s.Project != nil && reflect.DeepEqual(*s.Project, e) {
		return nil, events.ErrNoChange
	}
	return e, nil
}

// Remove decides that a project is no longer backed up.
func Remove(s Registration) (events.Event, error) {
	if s.Project == nil {
		return nil, events.ErrNoChange
	}
	return events.ProjectRemoved{}, nil
}
