package datapath_test

import (
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// scrubbers are the programs of scrub by the map that they belong to.
var scrubbers sync.Map

// scrub makes every entry of an array zero, those of all CPUs. A program does it:
// by system calls it would take 30 times as long.
func scrub(m *ebpf.Map) error {
	program, ok := scrubbers.Load(m)
	if !ok {
		loaded, err := ebpf.NewProgram(&ebpf.ProgramSpec{
			Type: ebpf.SchedCLS, License: "GPL", Instructions: append(eachIndex(m.MaxEntries()), zeroAt(m)...),
		})
		if err != nil {
			return err
		}
		program = loaded
		scrubbers.Store(m, loaded)
	}
	_, err := program.(*ebpf.Program).Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	return err
}

// eachIndex calls the function zero_at for each index below n.
func eachIndex(n uint32) asm.Instructions {
	context := &btf.Pointer{Target: &btf.Void{}}
	zeroAt := asm.LoadImm(asm.R2, -1, asm.DWord)
	zeroAt.Src = asm.PseudoFunc
	return asm.Instructions{
		function(asm.Mov.Imm(asm.R1, int32(n)), "scrub", btf.GlobalFunc, btf.FuncParam{Name: "skb", Type: context}),
		zeroAt.WithReference("zero_at"),
		asm.Mov.Imm(asm.R3, 0),
		asm.Mov.Imm(asm.R4, 0),
		asm.FnLoop.Call(),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}
}

// zeroAt is the function zero_at, which makes the values at an index zero.
func zeroAt(m *ebpf.Map) asm.Instructions {
	const index = -4 // on the stack
	code := asm.Instructions{function(asm.StoreMem(asm.RFP, index, asm.R1, asm.Word), "zero_at", btf.StaticFunc,
		btf.FuncParam{Name: "index", Type: &btf.Int{Name: "u32", Size: 4}},
		btf.FuncParam{Name: "context", Type: &btf.Pointer{Target: &btf.Void{}}})}
	lookup := func(fn asm.BuiltinFunc, cpu int) {
		code = append(code,
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, index),
			asm.Mov.Imm(asm.R3, int32(cpu)),
			fn.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
		)
		for offset := range int16(m.ValueSize() / 4) {
			code = append(code, asm.StoreImm(asm.R0, 4*offset, 0, asm.Word))
		}
	}
	if m.Type() == ebpf.PerCPUArray {
		for cpu := range ebpf.MustPossibleCPU() {
			lookup(asm.FnMapLookupPercpuElem, cpu)
		}
	} else {
		lookup(asm.FnMapLookupElem, 0)
	}
	return append(code, asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
}

// function makes an instruction the first of a function, which returns a number.
func function(first asm.Instruction, name string, linkage btf.FuncLinkage, params ...btf.FuncParam) asm.Instruction {
	of := &btf.FuncProto{Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}, Params: params}
	return btf.WithFuncMetadata(first, &btf.Func{Name: name, Type: of, Linkage: linkage}).WithSymbol(name)
}
