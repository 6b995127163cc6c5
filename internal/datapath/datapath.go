// Package datapath holds the compiled programs of bpf/ and the Go types of
// their maps' keys and values. Both are generated; package loader creates the
// maps and attaches the programs, package maps reads and writes entries.
//
// The object `layout` has the maps and types, each of the others the programs
// of one hook. Makefile sets the compiler and its flags.
package datapath

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types -type flow_key4 -type flow_key6 -type addr6 -type fragment_key4 -type fragment_key6 -type fragment -type flow4 -type flow6 -type flow_entry4 -type flow_entry6 -type flow_seed -type flow_tags -type flow_request -type endpoint -type network -type rule -type rule_counters -type host_addr -type vip -type turns -type uplink -type subnet_key4 -type subnet_key6 -type socket_key -type socket_origin -type drop_event -type report_budget -type hook -type verdict -type flow_target -type flow_head layout ../../bpf/layout.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types container ../../bpf/container.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types uplink ../../bpf/uplink.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types table ../../bpf/table.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types tunnel ../../bpf/tunnel.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types bridge ../../bpf/bridge.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types socket ../../bpf/socket.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -target bpfel -no-global-types resolver ../../bpf/resolver.c
