-- Quantities of today that count up, too: their buckets end with the instant that they hold (views of 0009).
CREATE OR REPLACE FUNCTION counts_up(quantity text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN quantity IN ('water_volume', 'pulse_count', 'active_energy_import', 'active_energy_export',
                        'reactive_energy', 'reactive_energy_import', 'reactive_energy_export', 'cooling_energy',
                        'electric_charge', 'gas_volume', 'heat_cost_units', 'people_passed', 'rain_total',
                        'thermal_energy');
