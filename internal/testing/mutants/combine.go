// Copyright The JobRun Authors.
// SPDX-License-Identifier: Apache-2.0

package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Variable is the environment variable that names the active mutant of a combined build.
const Variable = "JOBRUN_MUTANT"

// Combine returns texts of files in which all mutants can be switched on, one by one, so that they share one build: a function
// that mutants change calls the function of the active mutant, or the original. The paths are absolute. The names in alone
// are of mutants that change something else than bodies of functions, such as a constant. They need a build of their own.
func Combine(root string, mutants map[string]Edit) (texts map[string]string, alone []string, err error) {
	texts = map[string]string{}
	byFile := map[string][]string{}
	for name, m := range mutants {
		byFile[m.File] = append(byFile[m.File], name)
	}
	for file, names := range byFile {
		path := filepath.Join(root, file)
		slices.Sort(names)
		original, err := parse(path, nil)
		if err != nil {
			return nil, nil, err
		}
		combined := combination{original: original, changed: map[string][]variant{}}
		for _, name := range names {
			text, err := mutants[name].apply(original.text)
			if err != nil {
				return nil, nil, err
			}
			mutated, err := parse(path, []byte(text))
			if err != nil {
				return nil, nil, fmt.Errorf("mutant %q: %w", name, err)
			}
			if !combined.add(name, mutated) {
				alone = append(alone, name)
			}
		}
		if len(combined.changed) > 0 {
			texts[path] = combined.String()
			texts[filepath.Join(filepath.Dir(path), "active_mutant.go")] = fmt.Sprintf(
				"package %s\n\nimport \"os\"\n\nvar activeMutant = os.Getenv(%q)\n", original.tree.Name.Name, Variable)
		}
	}
	return texts, alone, nil
}

// source is a parsed file.
type source struct {
	text string
	tree *ast.File
	fset *token.FileSet
}

func parse(path string, text []byte) (*source, error) {
	if text == nil {
		read, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text = read
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
	return &source{string(text), tree, fset}, err
}

// at returns the text of a node.
func (s *source) at(node ast.Node) string { return s.between(node.Pos(), node.End()) }

func (s *source) between(from, to token.Pos) string {
	return s.text[s.fset.Position(from).Offset:s.fset.Position(to).Offset]
}

// functions returns the functions that have a body, by receiver and name, and the text around those bodies.
func (s *source) functions() (functions map[string]*ast.FuncDecl, around string) {
	functions = map[string]*ast.FuncDecl{}
	last := s.tree.FileStart
	for _, decl := range s.tree.Decls {
		function, is := decl.(*ast.FuncDecl)
		if !is || function.Body == nil {
			continue
		}
		key := function.Name.Name
		if function.Recv != nil {
			key = s.at(function.Recv) + key
		}
		functions[key] = function
		around += s.between(last, function.Body.Pos())
		last = function.Body.End()
	}
	return functions, around + s.between(last, s.tree.FileEnd)
}

// variant is a function as a mutant has it.
type variant struct{ mutant, text string }

// combination has the variants of the functions of a file.
type combination struct {
	original *source
	changed  map[string][]variant
}

// add adds the functions that a mutant changes. It reports false, and adds nothing, if the mutant changes more.
func (c *combination) add(mutant string, mutated *source) bool {
	originals, around := c.original.functions()
	functions, aroundMutated := mutated.functions()
	if around != aroundMutated || len(originals) != len(functions) {
		return false
	}
	for key, function := range functions {
		if mutated.at(function.Body) != c.original.at(originals[key].Body) {
			name := fmt.Sprintf("%sMutant%d", function.Name.Name, len(c.changed[key]))
			c.changed[key] = append(c.changed[key], variant{mutant, mutated.renamed(function, name)})
		}
	}
	return true
}

// renamed returns the text of a function with another name.
func (s *source) renamed(function *ast.FuncDecl, name string) string {
	return s.between(function.Type.Func, function.Name.Pos()) + name + s.between(function.Name.End(), function.End())
}

// String returns the file with its functions, all variants, and the functions that choose among them.
func (c *combination) String() string {
	functions, _ := c.original.functions()
	text, last := "", c.original.tree.FileStart
	inOrder := slices.SortedFunc(maps.Keys(c.changed), func(a, b string) int { return int(functions[a].Pos() - functions[b].Pos()) })
	var added strings.Builder
	for _, key := range inOrder {
		function := functions[key]
		text += c.original.between(last, function.Type.Func) + c.original.renamed(function, function.Name.Name+"Original")
		last = function.End()
		for _, v := range c.changed[key] {
			added.WriteString("\n" + v.text + "\n")
		}
		added.WriteString("\n" + c.choose(function, c.changed[key]))
	}
	return text + c.original.between(last, c.original.tree.FileEnd) + added.String()
}

// choose returns the text of a function that calls the variant of the active mutant, or the original.
func (c *combination) choose(function *ast.FuncDecl, variants []variant) string {
	signature, call := c.signature(function)
	var text strings.Builder
	fmt.Fprintf(&text, "func %s {\n\tswitch activeMutant {\n", signature)
	answer := func(name string) string {
		if function.Type.Results == nil {
			return fmt.Sprintf(call, name) + "\n\t\treturn"
		}
		return "return " + fmt.Sprintf(call, name)
	}
	for i, v := range variants {
		fmt.Fprintf(&text, "\tcase %q:\n\t\t%s\n", v.mutant, answer(fmt.Sprintf("%sMutant%d", function.Name.Name, i)))
	}
	fmt.Fprintf(&text, "\t}\n\t%s\n}\n", answer(function.Name.Name+"Original"))
	return text.String()
}

// signature returns the receiver, name, parameters and results of a function, with parameters that have names, and a call with
// these parameters in which %s is the name.
func (c *combination) signature(function *ast.FuncDecl) (signature, call string) {
	parameters, arguments := c.parameters(function.Type.Params, "p")
	types := ""
	if function.Type.TypeParams != nil {
		types = c.original.at(function.Type.TypeParams)
	}
	results := ""
	if function.Type.Results != nil {
		results = " " + c.original.at(function.Type.Results)
	}
	signature, call = function.Name.Name+types+"("+parameters+")"+results, "%s("+arguments+")"
	if function.Recv != nil {
		receiver, name := c.parameters(function.Recv, "r")
		signature, call = "("+receiver+") "+signature, name+"."+call
	}
	return signature, call
}

// parameters returns a list of parameters with names of its own, and these as arguments.
func (c *combination) parameters(list *ast.FieldList, prefix string) (parameters, arguments string) {
	var declared, names []string
	for _, field := range list.List {
		for range max(1, len(field.Names)) {
			name := fmt.Sprintf("%s%d", prefix, len(names))
			declared = append(declared, name+" "+c.original.at(field.Type))
			if _, variadic := field.Type.(*ast.Ellipsis); variadic {
				name += "..."
			}
			names = append(names, name)
		}
	}
	return strings.Join(declared, ", "), strings.Join(names, ", ")
}
