# SPDX-License-Identifier: GPL-3.0-or-later
# Objects compiled with instruction-set flags must hold no weak or unique symbols: the linker could
# keep such a copy (of a standard template, say) for the whole program, which then dies on older
# processors. Called with -DNM=... -DOBJECTS=a.o,b.o,...
string(REPLACE "," ";" objects "${OBJECTS}")
list(LENGTH objects count)
if(count LESS 20)
  message(FATAL_ERROR "Only ${count} objects given")
endif()
foreach(object IN LISTS objects)
  execute_process(COMMAND ${NM} -C ${object} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "nm failed on ${object}")
  endif()
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" shared "${symbols}")
  if(shared)
    message(FATAL_ERROR "${object} holds shareable symbols:\n${shared}")
  endif()
endforeach()
message(STATUS "${count} objects without shareable symbols")
