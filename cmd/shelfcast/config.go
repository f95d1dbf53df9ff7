package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"shelfcast/cmd/shelfcast/mask"
	"shelfcast/server"
)

type configCommand struct {
	server.Settings `embed:""`
	JSON            bool `name:"json" help:"Print the settings as JSON."`
}

// Run prints the settings that serve would use.
func (c *configCommand) Run(k *kong.Context) error {
	report := configReport{Settings: settingsOf(k), Unknown: unknownVariables(k.Model.Node, os.Environ())}
	if c.JSON {
		return printJSON(k.Stdout, report)
	}
	return report.print(k.Stdout)
}

type configReport struct {
	Settings []setting `json:"settings"`
	Unknown  []string  `json:"unknown"` // names of SHELFCAST_* variables that are not settings
}

// A setting is a setting of an instance.
type setting struct {
	Name     string `json:"name"`
	Variable string `json:"variable"` // of the environment
	Value    string `json:"value"`    // with secrets hidden
	Source   string `json:"source"`   // flag, environment or default
}

// settingsOf returns the settings of the selected command, in the order of its help.
func settingsOf(k *kong.Context) []setting {
	var all []setting
	for _, group := range k.Selected().AllFlags(true) {
		for _, f := range group {
			if f.Name == "help" || f.Name == "json" {
				continue
			}
			s := setting{Name: f.Name, Value: masked(f), Source: "default"}
			for _, name := range f.Tag.Envs {
				s.Variable = name
				if _, set := os.LookupEnv(name); set {
					s.Source = "environment"
				}
			}
			if slices.ContainsFunc(k.Path, func(p *kong.Path) bool { return p.Flag == f && !p.Resolved }) {
				s.Source = "flag"
			}
			all = append(all, s)
		}
	}
	return all
}

// secretName matches the names of settings that are secret as a whole.
var secretName = regexp.MustCompile(`token|password|passwd|secret|credential|authorization|headers|(^|-)key$`)

// masked returns the value of a flag with secrets hidden, depending on its placeholder.
// Flags without one may still contain a URL.
func masked(f *kong.Flag) string {
	hide := mask.Text
	switch {
	case secretName.MatchString(f.Name), f.PlaceHolder == "TOKEN":
		hide = mask.All
	case f.PlaceHolder == "DSN":
		hide = mask.DSN
	case f.PlaceHolder == "URL":
		hide = mask.URL
	}
	texts := textsOf(f.Target)
	for i := range texts {
		texts[i] = hide(texts[i])
	}
	return strings.Join(texts, ",")
}

// textsOf returns a value, or the values of a list, as written on a command line.
func textsOf(v reflect.Value) []string {
	if v.Kind() == reflect.Slice {
		var texts []string
		for i := range v.Len() {
			texts = append(texts, textsOf(v.Index(i))...)
		}
		return texts
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return []string{strings.ToLower(string(text))}
		}
	}
	return []string{fmt.Sprint(v.Interface())}
}

// unknownVariables returns the names of SHELFCAST_* variables that no command uses:
// misspelt ones, or those of another release.
func unknownVariables(program *kong.Node, environment []string) []string {
	known := map[string]bool{}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, f := range n.Flags {
			for _, name := range f.Tag.Envs {
				known[name] = true
			}
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(program)
	unknown := []string{}
	for _, variable := range environment {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "SHELFCAST_") && !known[name] {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

func (r configReport) print(to io.Writer) error {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tFROM\tVALUE")
	for _, s := range r.Settings {
		fmt.Fprintf(table, "--%s\t%s\t%s\n", s.Name, s.Source, s.Value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, name := range r.Unknown {
		if _, err := fmt.Fprintf(to, "%s is set, but is not a setting\n", name); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(to io.Writer, v any) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
