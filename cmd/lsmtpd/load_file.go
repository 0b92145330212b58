package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// loadFile applies the configuration file; place is what named it.
func (l *loader) loadFile(place, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		l.fail("%s: cannot read the file: %w", place, err)
		return
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	err = d.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return // empty, or nothing but comments
	}
	if err == nil {
		if err = d.Decode(&more); errors.Is(err, io.EOF) {
			l.loadNode(path, "", doc.Content[0], map[string]bool{})
			return
		}
	}
	switch {
	case err == nil:
		l.fail("%s:%d: a second document; want all keys in one, without a line of ---", path, more.Line)
	case strings.Contains(err.Error(), "unknown anchor"):
		// The text of the error quotes the value, which may be a password.
		l.fail("%s: not YAML: a value begins with *; write it in quotation marks", path)
	case strings.Contains(err.Error(), "expected alphabetic or numeric character"):
		l.fail("%s: not YAML: %w; a value that begins with * or & is written in quotation marks", path, err)
	case strings.Contains(err.Error(), "unknown escape character"):
		l.fail("%s: not YAML: %w; a value with a backslash is written in single quotation marks", path, err)
	default:
		l.fail("%s: not YAML: %w", path, err)
	}
}

// loadNode applies the mapping node, whose keys stand below prefix, "smtp." or "". The names in seen have been given.
func (l *loader) loadNode(path, prefix string, node *yaml.Node, seen map[string]bool) {
	if isNull(node) {
		return // a group without keys, or a document without groups
	}
	if node.Kind != yaml.MappingNode {
		group := ""
		if prefix != "" {
			group = strings.TrimSuffix(prefix, ".") + ": "
		}
		l.fail("%s:%d: %swant a group of keys with values, as smtp: {hostname: mx.example.org}", path, node.Line, group)
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := prefix+node.Content[i].Value, node.Content[i+1]
		place := fmt.Sprintf("%s:%d", path, node.Content[i].Line)
		switch {
		case seen[name]:
			l.fail("%s: %s: given twice; remove one of them", place, name)
		case l.keys[name] != nil:
			l.loadValue(place, l.keys[name], value)
		case name == routesKey:
			l.loadRoutes(path, place, value)
		case l.isGroup(name):
			l.loadNode(path, name+".", value, seen)
		default:
			l.fail("%s: %s: unknown key%s", place, name, l.nearest(name))
		}
		seen[name] = true
	}
}

func (l *loader) loadValue(place string, k *key, value *yaml.Node) {
	values, isList := []*yaml.Node{value}, k.kind == "list"
	if value.Kind == yaml.SequenceNode && isList {
		values = value.Content
	}
	var texts []string
	for _, v := range values {
		switch {
		case isNull(v):
			// A key without a value is as good as absent.
		case v.Kind != yaml.ScalarNode:
			l.fail("%s: %s: want one value (%s), not a list or a group of keys; a value that begins with [ or { is written in quotation marks", place, k.name, k.kind)
			return
		case v.Anchor != "" || v.Style&yaml.TaggedStyle != 0:
			l.fail("%s: %s: begins with & or !, which YAML does not take for a part of the value; write it in quotation marks", place, k.name)
			return
		default:
			texts = append(texts, v.Value)
		}
	}
	if len(texts) > 0 || value.Kind == yaml.SequenceNode {
		l.apply(place+": "+k.name, k, strings.Join(texts, ","))
	}
}

// isNull reports a value that is not there. One with an anchor is there: a password may begin with an ampersand.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null" && n.Anchor == ""
}

// isGroup reports whether name is the beginning of keys.
func (l *loader) isGroup(name string) bool {
	for k := range l.keys {
		if strings.HasPrefix(k, name+".") {
			return true
		}
	}
	return false
}
