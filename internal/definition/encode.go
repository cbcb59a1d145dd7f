// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

var errTooLarge = errors.New("the JSON is too large")

func isTooLarge(err error) bool { return errors.Is(err, errTooLarge) }

// encode returns the JSON of a value of CEL. The keys of its objects are sorted. It stops with errTooLarge beyond limit bytes,
// because an expression may name a large part many times.
func encode(value ref.Val, limit int) ([]byte, error) {
	e := &encoder{limit: limit}
	if err := e.value(value); err != nil {
		return nil, err
	}
	return e.text.Bytes(), nil
}

type encoder struct {
	text  bytes.Buffer
	limit int
}

// write adds a text, or returns errTooLarge.
func (e *encoder) write(text string) error {
	if e.text.Len()+len(text) > e.limit {
		return errTooLarge
	}
	e.text.WriteString(text)
	return nil
}

func (e *encoder) value(value ref.Val) error {
	switch value := value.(type) {
	case longText:
		return errTooLarge
	case types.Null:
		return e.write("null")
	case types.Bool, types.Int, types.Uint, types.Double:
		return e.native(value.Value())
	case types.String:
		return e.string(string(value))
	case types.Bytes:
		return e.string(base64.StdEncoding.EncodeToString(value))
	case types.Timestamp, types.Duration:
		text, ok := value.ConvertToType(types.StringType).(types.String)
		if !ok {
			return fmt.Errorf("gives a %s that is out of range", value.Type().TypeName())
		}
		return e.string(string(text))
	case traits.Lister:
		return e.list(value)
	case traits.Mapper:
		return e.object(value)
	default:
		return fmt.Errorf("gives a value of type %s, which has no JSON", value.Type().TypeName())
	}
}

// string adds a text in quotes. Its JSON has at least as many bytes.
func (e *encoder) string(text string) error {
	if e.text.Len()+len(text) > e.limit {
		return errTooLarge
	}
	return e.native(text)
}

// native adds the JSON of a value of Go. As in a stored input, <, > and & are not escaped.
func (e *encoder) native(value any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("gives a value that has no JSON: %w", err)
	}
	return e.write(string(bytes.TrimSuffix(text.Bytes(), []byte("\n"))))
}

func (e *encoder) list(list traits.Lister) error {
	between := "["
	for it := list.Iterator(); it.HasNext() == types.True; between = "," {
		if err := errors.Join(e.write(between), e.value(it.Next())); err != nil {
			return err
		}
	}
	if between == "[" {
		return e.write("[]")
	}
	return e.write("]")
}

func (e *encoder) object(object traits.Mapper) error {
	keys, err := e.keys(object)
	if err != nil {
		return err
	}
	between := "{"
	for _, key := range keys {
		if err := errors.Join(e.write(between), e.string(key), e.write(":"), e.value(object.Get(types.String(key)))); err != nil {
			return err
		}
		between = ","
	}
	if between == "{" {
		return e.write("{}")
	}
	return e.write("}")
}

// keys returns the sorted keys of an object. It returns errTooLarge before it collects more than can have room.
func (e *encoder) keys(object traits.Mapper) ([]string, error) {
	size, _ := object.Size().(types.Int)
	if int64(size) > int64(e.limit) {
		return nil, errTooLarge
	}
	keys := make([]string, 0, size)
	for it := object.Iterator(); it.HasNext() == types.True; {
		key, ok := it.Next().(types.String)
		if !ok {
			return nil, errors.New("gives an object with a key that is not a string")
		}
		keys = append(keys, string(key))
	}
	slices.Sort(keys)
	return keys, nil
}
