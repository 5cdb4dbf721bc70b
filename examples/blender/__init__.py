"""Blender: File > Import > Scan as a surface. A point cloud is fitted by igr and becomes a mesh object."""

import bpy
import numpy as np
from bpy_extras.io_utils import ImportHelper

import igr
from igr.errors import FAILURES, InputError, reason
from igr.mesh.triangles import decimated

ENDS = [
    ("auto", "As found", "open where more than a fifth would be invented"),
    ("closed", "Closed", "watertight, whatever is invented"),
    ("open", "Open", "it ends where the points end"),
]


class ScanAsSurface(bpy.types.Operator, ImportHelper):
    """Fit a surface to the points of a file, in seconds"""

    bl_idname = "import_mesh.igr"
    bl_label = "Import scan as a surface"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012 (Blender reads it off the class)

    filter_glob: bpy.props.StringProperty(
        default="*.ply;*.xyz;*.txt;*.csv;*.npy;*.npz;*.las;*.laz;*.e57;*.pcd;*.ptx;*.obj;*.stl", options={"HIDDEN"}
    )
    ends: bpy.props.EnumProperty(name="Ends", items=ENDS, default="auto")
    resolution: bpy.props.IntProperty(
        name="Resolution", default=0, min=0, max=4096, description="Cells along the longest side; 0: by the points"
    )
    triangles: bpy.props.IntProperty(
        name="Triangles", default=0, min=0, description="Decimate to about so many; 0: all stay"
    )
    steps: bpy.props.IntProperty(name="Steps", default=0, min=0, description="Of the fit; 0: by the points")

    def execute(self, context):
        progress = context.window_manager
        progress.progress_begin(0, 100)
        try:
            fitted = igr.reconstruct(
                self.filepath,
                options=igr.Options(steps=self.steps or None),
                on_step=lambda at, field: progress.progress_update(int(100 * at.share)),
                notify=lambda note: self.report({"INFO"}, note),
            )
            if fitted.dimension != 3:
                raise InputError("this is an outline in the plane; igr reconstruct writes it as svg or dxf")
            mesh = fitted.triangles(self.resolution or None, surface=self.ends)
        except FAILURES as problem:
            self.report({"ERROR"}, reason(problem))
            return {"CANCELLED"}
        finally:
            progress.progress_end()
        if self.triangles:
            mesh = decimated(*mesh, self.triangles)
        made = as_object(bpy.path.display_name_from_filepath(self.filepath), fitted, *mesh)
        context.collection.objects.link(made)
        for other in context.selected_objects:
            other.select_set(False)
        made.select_set(True)
        context.view_layer.objects.active = made
        self.report({"INFO"}, f"{len(mesh[1]):,} triangles, {'open' if fitted.is_open else 'closed'}")
        return {"FINISHED"}


def as_object(name, fitted, vertices, faces):
    """A mesh object with confidence and colors; Blender computes in float32, so its origin stands in the middle.

    The exact place of that origin, in the scan's units, is the custom property `igr_origin`.
    """
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices - middle, [], faces)
    mesh.shade_smooth()
    confidence = mesh.attributes.new("confidence", "FLOAT", "POINT")
    confidence.data.foreach_set("value", fitted.confidence(vertices).astype(np.float32))
    if (colors := fitted.attributes(fitted.project(vertices)).get("colors")) is not None:
        layer = mesh.color_attributes.new("colors", "BYTE_COLOR", "POINT")
        rgba = np.c_[colors / 255, np.ones(len(colors))].astype(np.float32)
        layer.data.foreach_set("color_srgb", rgba.ravel())
    made = bpy.data.objects.new(name, mesh)
    made.location = middle
    made["igr_origin"] = middle.tolist()
    return made


def _in_menu(menu, context):
    menu.layout.operator(ScanAsSurface.bl_idname, text="Scan as a surface (igr)")


def register():
    bpy.utils.register_class(ScanAsSurface)
    bpy.types.TOPBAR_MT_file_import.append(_in_menu)


def unregister():
    bpy.types.TOPBAR_MT_file_import.remove(_in_menu)
    bpy.utils.unregister_class(ScanAsSurface)
