// Bracket that holds the isolated RS-485 interface on a 35 mm DIN rail inside the gateway box. All in millimetres.
device = [80, 52, 22];    // what it holds
wall = 3;
rail = 35;                // height of the rail
rail_thick = 1.2;         // its flange, with play
hook = 2.5;
width = 45;               // along the rail
hole = 3.4;
$fn = 48;

plate = [width, device[0] + 2 * wall, wall];

difference() {
    union() {
        cube(plate);
        // walls that hold the device
        cube([width, wall, device[2]]);
        translate([0, plate[1] - wall, 0]) cube([width, wall, device[2]]);
        // hooks behind the rail: a fixed one above, a springing one below
        for (up = [0, 1]) {
            y = plate[1] / 2 + (up == 1 ? rail / 2 + 0.2 : -rail / 2 - 0.2 - wall);
            translate([0, y, -rail_thick - hook + 0.01]) cube([width, wall, rail_thick + hook]);
            translate([0, up == 1 ? y - hook : y, -rail_thick - hook]) cube([width, wall + hook, hook]);
        }
    }
    for (x = [width * 0.25, width * 0.75]) translate([x, plate[1] / 2, -1]) cylinder(d = hole, h = wall + 2);
}
