package project

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// savedProject is what [Project.Save] writes. Paths are bytes: JSON would change
// those that are no UTF-8.
type savedProject struct {
	Parts   []string
	URL     string
	Tools   []byte
	RootKey []byte

	Storage, Tenant, Functions, Root []byte
	Data, Deployment                 [][]byte

	Within map[string][]byte // of the places of the parts; that of the root key is the database's
}

// Save returns where the parts of a project are, for [Load]: a restore that brings
// configuration files must go on after a crash, when half of them are there. The
// result holds the password of the database.
func (p Project) Save(ctx context.Context) ([]byte, error) {
	out := savedProject{Within: map[string][]byte{}}
	if p.Server != nil {
		url, err := p.Server.Find(ctx)
		if err != nil {
			url = "" // none of the parts that are restored needs it, or they would have failed
		}
		out.URL, out.Tools = url, []byte(p.Server.Tools)
	}
	for _, part := range p.Parts {
		if u, ok := part.(*UnavailablePart); ok && u.Place != nil {
			part = u.Place
		}
		out.Parts = append(out.Parts, part.Name())
		switch x := part.(type) {
		case *DatabasePart:
			if x.RootKey != nil {
				key := x.RootKey(ctx)
				out.RootKey, out.Within[Database] = []byte(key.Path), []byte(key.Within)
			}
		case *StoragePart:
			out.Storage, out.Tenant, out.Within[Storage] = []byte(x.Path), []byte(x.Tenant), []byte(x.Within)
		case *FunctionsPart:
			out.Functions, out.Within[Functions] = []byte(x.Path), []byte(x.Within)
		case *ConfigPart:
			out.Root, out.Within[Config], out.Data, out.Deployment = []byte(x.Root), []byte(x.Within), asBytes(x.Data), asBytes(x.Deployment)
		default: // cannot be restored
			out.Parts = slices.DeleteFunc(out.Parts, func(name string) bool { return name == part.Name() })
		}
	}
	return json.Marshal(out)
}

// Load returns the project that was saved.
func Load(b []byte) (Project, error) {
	var in savedProject
	if err := json.Unmarshal(b, &in); err != nil {
		return Project{}, fmt.Errorf("load a saved project: %w", err)
	}
	var p Project
	if in.URL != "" {
		p.Server = &Server{URL: func(context.Context) (string, error) { return in.URL, nil }, Tools: string(in.Tools)}
	}
	within := func(part string) string { return string(in.Within[part]) }
	for _, name := range in.Parts {
		p.Parts = append(p.Parts, map[string]Part{
			Database:  &DatabasePart{RootKey: func(context.Context) Place { return Place{string(in.RootKey), within(Database)} }},
			Storage:   &StoragePart{Path: string(in.Storage), Within: within(Storage), Tenant: string(in.Tenant)},
			Functions: &FunctionsPart{Path: string(in.Functions), Within: within(Functions)},
			Config:    &ConfigPart{Root: string(in.Root), Within: within(Config), Data: asStrings(in.Data), Deployment: asStrings(in.Deployment)},
		}[name])
	}
	return p, nil
}

func asBytes(in []string) (out [][]byte) {
	for _, s := range in {
		out = append(out, []byte(s))
	}
	return out
}

func asStrings(in [][]byte) (out []string) {
	for _, b := range in {
		out = append(out, string(b))
	}
	return out
}
