"""Commands to lighting circuits: requested, transmitted, applied by the relay's word, confirmed by the meter's."""
