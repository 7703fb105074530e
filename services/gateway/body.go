package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/holdfast-dev/holdfast/internal/fault"
)

// unencoded refuses requests whose body is compressed, before anything is decoded: a
// few bytes can become gigabytes. Nothing in the gateway may call [fiber.Ctx.Body],
// which decodes.
func unencoded(c *fiber.Ctx) error {
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && !strings.EqualFold(e, "identity") {
		return fault.Errorf(fault.UnsupportedMedia, "The body must not be compressed: send it without Content-Encoding")
	}
	return c.Next()
}

// noBody refuses a body with fields, for routes that have none.
func noBody(c *fiber.Ctx) error {
	if err := optionalBody(c, &struct{}{}); err != nil {
		return err
	}
	return c.Next()
}

// optionalBody is decodeBody for routes where a body may be left out.
func optionalBody(c *fiber.Ctx, v any) error {
	if len(c.BodyRaw()) == 0 {
		return nil
	}
	return decodeBody(c, v)
}

// decodeBody reads a JSON object into what v points to, a struct. A field that the
// struct does not have is an error, and so is one in other letters or one that is
// there twice: a misspelt "encrypt" must not give a plain-text backup.
func decodeBody(c *fiber.Ctx, v any) error {
	if typ := c.Get(fiber.HeaderContentType); typ != "" {
		if m, _, err := mime.ParseMediaType(typ); err != nil || m != fiber.MIMEApplicationJSON {
			return fault.Errorf(fault.UnsupportedMedia, "The body must be JSON: send it with Content-Type: application/json")
		}
	}
	body := c.BodyRaw()
	if !utf8.Valid(body) {
		return fault.Errorf(fault.Invalid, "The body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	var whole json.RawMessage
	if err := d.Decode(&whole); err != nil || whole[0] != '{' {
		return fault.Errorf(fault.Invalid, "The body is not a JSON object")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault.Errorf(fault.Invalid, "The body must be one JSON object and nothing else")
	}
	if err := checkFields(whole, fieldsOf(v)); err != nil {
		return err
	}
	err := json.Unmarshal(whole, v)
	if typ, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.Errorf(fault.Invalid, "The field %q must be %s", typ.Field, kindOf(typ.Type))
	}
	if err != nil {
		return fault.Errorf(fault.Invalid, "The body is not a JSON object")
	}
	return nil
}

// fieldsOf returns the names of the fields of a struct in JSON.
func fieldsOf(v any) (names []string) {
	for f := range reflect.TypeOf(v).Elem().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// checkFields returns an error unless an object, which must be valid JSON, has only the
// allowed fields, each once at most, and no object in it has a field twice.
func checkFields(object []byte, allowed []string) error {
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber() // however large
	return eachField(d, func(name string) error {
		if slices.Contains(allowed, name) {
			return nil
		}
		for _, a := range allowed {
			if strings.EqualFold(a, name) {
				return fault.Errorf(fault.Invalid, "The body has an unknown field %q; write %q", name, a)
			}
		}
		has := "has no fields"
		if len(allowed) > 0 {
			has = "may have " + strings.Join(allowed, ", ")
		}
		return fault.Errorf(fault.Invalid, "The body has an unknown field %q; it %s", name, has)
	})
}

// eachField calls check with the name of each field of the object that d is before, and
// refuses names that are there twice, in the objects inside as well. The decoder bounds
// how deep they can be.
func eachField(d *json.Decoder, check func(name string) error) error {
	open, err := d.Token()
	if err != nil {
		return fmt.Errorf("read JSON: %w", err)
	}
	if open != json.Delim('{') && open != json.Delim('[') {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == json.Delim('{') {
			t, err := d.Token()
			if err != nil {
				return fmt.Errorf("read JSON: %w", err)
			}
			name, _ := t.(string)
			if err := check(name); err != nil {
				return err
			}
			if seen[name] {
				return fault.Errorf(fault.Invalid, "The body has the field %q twice", name)
			}
			seen[name] = true
		}
		if err := eachField(d, func(string) error { return nil }); err != nil {
			return err
		}
	}
	_, err = d.Token() // that ends it
	return err
}

// kindOf says in words what a field must be.
func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of texts"
	default:
		return "a text"
	}
}
