package supabase

import "context"

// Composed returns what compose's library makes of a folder, as JSON, and the variables
// of its services.
func Composed(ctx context.Context, folder string) (project []byte, environment map[string]map[string]string, err error) {
	m, err := load(ctx, folder, newScope(folder, nil), "")
	if err != nil {
		return nil, nil, err
	}
	environment = map[string]map[string]string{}
	for name := range m.project.Services {
		if environment[name], err = m.environment(name); err != nil {
			return nil, nil, err
		}
	}
	project, err = m.project.MarshalJSON()
	return project, environment, err
}
