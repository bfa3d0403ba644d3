"""Commands to lighting cabinets: requested, transmitted, confirmed by what the cabinet reads back."""
