"""Water of a campus: who showers when, what flows, how warm it is, what the meters count. Pure, seeded, in numpy."""
