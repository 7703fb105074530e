package config

import (
	"encoding"
	"fmt"
	"iter"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decode gives v the value of a node. What is wrong is said with its line and key and
// without the value, which may be a secret, and everything else is decoded all the
// same. A key without a value keeps its default.
func (f *file) decode(n ast.Node, v reflect.Value, path string) {
	if n = f.resolve(n); n == nil {
		f.about(path, "refers to an anchor that is not there")
		return
	}
	f.lines[path] = n.GetToken().Position.Line
	if n.Type() == ast.NullType {
		return
	}
	if _, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		f.decodeScalar(n, v, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		f.decodeStruct(n, v, path)
	case reflect.Slice:
		f.decodeList(n, v, path)
	case reflect.Map:
		f.decodeMap(n, v, path)
	default:
		f.decodeScalar(n, v, path)
	}
}

// resolve returns what an anchor, an alias or a tag stands before.
func (f *file) resolve(n ast.Node) ast.Node {
	const most = 100 // an alias may lead to itself
	for range most {
		switch x := n.(type) {
		case *ast.AnchorNode:
			f.anchors[x.Name.GetToken().Value] = x.Value
			n = x.Value
		case *ast.AliasNode:
			n = f.anchors[x.Value.GetToken().Value]
		case *ast.TagNode:
			n = x.Value
		default:
			return n
		}
	}
	return nil
}

func (f *file) decodeStruct(n ast.Node, v reflect.Value, path string) {
	if isNone := v.FieldByName("None"); isNone.IsValid() {
		if text, ok := f.text(n, path); ok && text == none {
			isNone.SetBool(true)
			return
		}
		if !isMapping(n) {
			f.about(path, "must be a mapping such as {path: /srv/files}, or the word none")
			return
		}
	}
	if !isMapping(n) {
		f.about(path, "must be a mapping of %s", strings.Join(keysOf(v.Type()), ", "))
		return
	}
	for key, value := range fields(n) {
		field, ok := fieldOf(v.Type(), key.name)
		if !ok {
			f.say(key.line, "%s is unknown; there is %s", join(path, key.name), strings.Join(keysOf(v.Type()), ", "))
			continue
		}
		f.lines[join(path, key.name)] = key.line
		f.decode(value, v.FieldByName(field.Name), join(path, key.name))
	}
}

// none is the word that takes the place of a part.
const none = "none"

func (f *file) decodeList(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		f.about(path, "must be a list such as [a, b]")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		f.decode(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(out)
}

// decodeMap decodes a mapping whose keys are names. Values of any type are the settings
// of destinations.
func (f *file) decodeMap(n ast.Node, v reflect.Value, path string) {
	if !isMapping(n) {
		f.about(path, "must be a mapping")
		return
	}
	out := reflect.MakeMap(v.Type())
	for key, value := range fields(n) {
		f.lines[join(path, key.name)] = key.line
		item := reflect.New(v.Type().Elem()).Elem()
		if item.Kind() == reflect.Interface {
			if settings, ok := f.checks.Destination(key.name); ok { // else validate says so
				item.Set(reflect.ValueOf(settings))
				f.decode(value, reflect.ValueOf(settings).Elem(), join(path, key.name))
			}
		} else {
			f.decode(value, item, join(path, key.name))
		}
		out.SetMapIndex(reflect.ValueOf(key.name), item)
	}
	v.Set(out)
}

func (f *file) decodeScalar(n ast.Node, v reflect.Value, path string) {
	text, ok := f.text(n, path)
	if !ok {
		f.about(path, "must be one value, not a list or a mapping")
		return
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			f.about(path, "%v", err)
		}
		return
	}
	switch v.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			f.about(path, "must be a duration such as 30s, 10m or 24h")
		}
		v.SetInt(int64(d))
	case int:
		i, err := strconv.Atoi(text)
		if err != nil {
			f.about(path, "must be a whole number")
		}
		v.SetInt(int64(i))
	case bool:
		if text != "true" && text != "false" {
			f.about(path, "must be true or false")
		}
		v.SetBool(text == "true")
	default:
		v.SetString(text)
	}
}

// text returns a scalar with its references filled in, or false for a list or mapping.
func (f *file) text(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return f.expand(n.Value, path), true
	case *ast.LiteralNode:
		return f.expand(n.Value.Value, path), true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// keyAt is a key of a mapping and where it stands.
type keyAt struct {
	name string
	line int
}

func isMapping(n ast.Node) bool {
	return n.Type() == ast.MappingType || n.Type() == ast.MappingValueType
}

// fields returns the keys of a mapping and their values. Quoted or not, a key is the same.
func fields(n ast.Node) iter.Seq2[keyAt, ast.Node] {
	return func(yield func(keyAt, ast.Node) bool) {
		var all []*ast.MappingValueNode
		switch n := n.(type) {
		case *ast.MappingNode:
			all = n.Values
		case *ast.MappingValueNode:
			all = append(all, n)
		}
		for _, m := range all {
			t := m.Key.GetToken()
			if !yield(keyAt{t.Value, t.Position.Line}, m.Value) {
				return
			}
		}
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func fieldOf(t reflect.Type, key string) (reflect.StructField, bool) {
	for field := range tagged(t) {
		if field.Tag.Get("yaml") == key {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for field := range tagged(t) {
		keys = append(keys, field.Tag.Get("yaml"))
	}
	return keys
}

// tagged returns the fields that have a key, those of inlined structs as well.
func tagged(t reflect.Type) iter.Seq[reflect.StructField] {
	return func(yield func(reflect.StructField) bool) {
		for field := range t.Fields() {
			switch field.Tag.Get("yaml") {
			case "", "-":
			case ",inline":
				for f := range tagged(field.Type) {
					if !yield(f) {
						return
					}
				}
			default:
				if !yield(field) {
					return
				}
			}
		}
	}
}
