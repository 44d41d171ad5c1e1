// Box of the outlet controller HWO-1. Print body and lid from ASA, walls solid. All in millimetres.
// Glands below, so water runs off them; a drip edge over the lid's joint; ears for the wall.
part = "body";            // body, lid, or clash: what body and closed lid have in common, which is nothing
inner = [120, 90, 52];
wall = 3;
pcb = [100, 70, 1.6];
pcb_holes = [92, 62];     // spacing
standoff = [8, 7, 2.5];   // height, diameter, hole for M3
glands_m12 = 6;
glands_m16 = 2;
hole_m12 = 12.4;
hole_m16 = 16.4;
pitch_m12 = 17.5;
pitch_m16 = 25;
ear = [14, 12, 5];
ear_hole = 4.5;
lid_thick = 3;
lip = 4;                  // the lid's rim reaches this far into the body
gap = 0.3;
drip = 6;                 // how far the edge overhangs above the joint
post = 8;
lid_post = 5.4;           // must clear the wall
$fn = 48;

outer = [inner[0] + 2 * wall, inner[1] + 2 * wall, inner[2] + wall];

module at_pcb_holes() for (x = [-1, 1], y = [-1, 1])
    translate([outer[0] / 2 + x * pcb_holes[0] / 2, outer[1] / 2 + y * pcb_holes[1] / 2, 0]) children();

module at_corners() for (x = [wall + post / 2 - 1, outer[0] - wall - post / 2 + 1], y = [wall + post / 2 - 1, outer[1] - wall - post / 2 + 1])
    translate([x, y, 0]) children();

module glands() {
    for (i = [0 : glands_m12 - 1]) translate([outer[0] / 2 + (i - (glands_m12 - 1) / 2) * pitch_m12, 0, wall + inner[2] * 0.32])
        rotate([90, 0, 0]) cylinder(d = hole_m12, h = 4 * wall, center = true);
    for (i = [0 : glands_m16 - 1]) translate([outer[0] / 2 + (i - (glands_m16 - 1) / 2) * pitch_m16 * 2, 0, wall + inner[2] * 0.72])
        rotate([90, 0, 0]) cylinder(d = hole_m16, h = 4 * wall, center = true);
}

module ears() for (x = [-ear[0] + 0.01, outer[0] - 0.01], y = [outer[1] * 0.15, outer[1] * 0.85 - ear[1]])
    translate([x, y, 0]) difference() {
        cube([ear[0], ear[1], ear[2]]);
        translate([ear[0] / 2, ear[1] / 2, -1]) cylinder(d = ear_hole, h = ear[2] + 2);
    }

module body() difference() {
    union() {
        difference() {
            cube(outer);
            translate([wall, wall, wall]) cube([inner[0], inner[1], inner[2] + 1]);
        }
        at_pcb_holes() translate([0, 0, wall - 0.1]) cylinder(d = standoff[1], h = standoff[0] + 0.1);
        at_corners() translate([0, 0, wall - 0.1]) cylinder(d = post, h = inner[2] - lip - 1 + 0.1);
        ears();
        // the drip edge: a roof at the top of the front, over the joint
        translate([0, outer[1] - 0.01, outer[2] - wall]) cube([outer[0], drip, wall]);
    }
    at_pcb_holes() translate([0, 0, wall + 1]) cylinder(d = standoff[2], h = standoff[0] + 1);
    at_corners() translate([0, 0, wall + inner[2] - 20]) cylinder(d = 2.5, h = 30);
    glands();
}

module lid() difference() {
    union() {
        cube([outer[0], outer[1] + drip, lid_thick]);
        translate([wall + gap, wall + gap, lid_thick - 0.1]) difference() {
            cube([inner[0] - 2 * gap, inner[1] - 2 * gap, lip + 0.1]);
            translate([2, 2, -1]) cube([inner[0] - 2 * gap - 4, inner[1] - 2 * gap - 4, lip + 2]);
        }
        at_corners() cylinder(d = lid_post, h = lid_thick + lip);
    }
    at_corners() translate([0, 0, -1]) cylinder(d = 3.4, h = lid_thick + lip + 2);
}

module clash() intersection() {
    body();
    translate([outer[0], 0, outer[2] + lid_thick + 0.01]) rotate([0, 180, 0]) lid();
}

if (part == "body") body(); else if (part == "lid") lid(); else clash();
