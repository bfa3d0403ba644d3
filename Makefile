# Aliases for those whose fingers type make; ./territoire is the command.
.PHONY: demo up test
demo up test:
	./territoire $@
